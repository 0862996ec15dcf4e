"""Native kernels over Arrow string buffers: splitting, counting and hashing, once per batch.

batch = TextBatch.of(["Some text."])
batch.words("uax29")
"""
