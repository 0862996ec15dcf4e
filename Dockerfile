FROM python:3.12-slim-bookworm

# kenlm is built from source.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential cmake \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/curate
COPY pyproject.toml constraints.txt README.md ./
COPY curate ./curate
RUN pip install --no-cache-dir -c constraints.txt .
COPY configs ./configs
COPY jobs ./jobs

# Compile the kernels once, so that no worker has to.
RUN python -m curate.warm
