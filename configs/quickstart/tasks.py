"""Small tasks with answers that are known: questions, right answers and wrong ones, in varied words.

A task takes a seeded source and gives an example, different for each `key`:

    example = TASKS["sort"].make(random.Random(7))
    example.prompt, example.input, example.answer, example.wrong
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from words import CLASSES, DEFINITIONS, NAMES, SUBJECTS, THINGS, UNITS, VERBS

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Example(NamedTuple):
    """A question with its right answer and a wrong one; two examples of one key ask the same."""

    key: str
    prompt: str
    input: str
    answer: str
    wrong: str


class Task(NamedTuple):
    """How examples are made, and what share of a pool they are."""

    share: float
    make: Callable[[random.Random], Example]


def arithmetic(rng: random.Random) -> Example:
    """A word problem in one or two steps."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    have, more, less, price = rng.randint(12, 60), rng.randint(3, 40), rng.randint(2, 11), rng.randint(2, 9)
    kind = rng.choice(("sum", "difference", "both", "product", "share"))
    if kind == "sum":
        question = f"{name} has {have} {thing} and gets {more} more. How many {thing} does {name} have now?"
        steps, result = f"{have} + {more} = {have + more}", have + more
    elif kind == "difference":
        question = f"{name} had {have} {thing} and gave {less} of them away. How many {thing} are left?"
        steps, result = f"{have} - {less} = {have - less}", have - less
    elif kind == "both":
        question = f"There are {have} {thing} in a box. {name} takes out {less} and puts in {more}. How many are in it?"
        left, result = have - less, have - less + more
        steps = f"{have} - {less} = {left}, and {left} + {more} = {result}"
    elif kind == "product":
        question = f"{name} buys {less} boxes with {price} {thing} in each. How many {thing} is that?"
        steps, result = f"{less} x {price} = {less * price}", less * price
    else:
        total = less * price
        question = f"{name} shares {total} {thing} evenly among {less} children. How many does each child get?"
        steps, result = f"{total} / {less} = {price}", price
    return Example(question, question, "", _worked(rng, steps, str(result)), _missed(rng, steps, result))


def _worked(rng: random.Random, steps: str, result: str) -> str:
    return rng.choice((f"{steps}. The answer is {result}.", f"We work it out: {steps}. So the answer is {result}."))


def _missed(rng: random.Random, steps: str, result: int) -> str:
    wrong = result + rng.choice((-3, -2, -1, 1, 2, 3, 10) if result > 3 else (1, 2, 3, 10))
    return _worked(rng, steps.rsplit("=", 1)[0] + f"= {wrong}", str(wrong))


def units(rng: random.Random) -> Example:
    """A conversion from a unit to one that is a whole number of times smaller."""
    one, big, small, factor = rng.choice(UNITS)
    amount = rng.randint(2, 40)
    question = rng.choice(
        (f"Convert {amount} {big} to {small}.", f"How many {small} are {amount} {big}?", f"{amount} {big} in {small}?")
    )
    right, wrong = amount * factor, (amount + rng.choice((-1, 1))) * factor * rng.choice((1, 10))

    def told(value: int) -> str:
        return f"One {one} is {factor:,} {small}, so {amount} {big} are {value:,} {small}."

    return Example(f"{amount} {big} {small}", question, "", told(right), told(wrong))


def classify(rng: random.Random) -> Example:
    """The class of a thing, or which of four things is of another class."""
    right, other = rng.sample(sorted(CLASSES), 2)
    if rng.random() < 0.5:
        thing = rng.choice(CLASSES[right])
        choices = ", ".join(sorted({right, other, *rng.sample(sorted(CLASSES), 2)}))
        question = rng.choice(("To which class does this belong?", "Classify the word with one of the labels."))
        given = f"Word: {thing}\nLabels: {choices}"
        return Example(f"class {thing}", question, given, f"{thing}: {right}", f"{thing}: {other}")
    same, odd = rng.sample(CLASSES[right], 3), rng.choice(CLASSES[other])
    mixed = sorted([*same, odd], key=lambda _: rng.random())
    question = rng.choice(("Which word does not belong with the others?", "Find the odd one out."))

    def told(word: str, why: str) -> str:
        return f"The odd one out is {word}, as the others belong to the class {why}."

    key = f"odd {' '.join(sorted(mixed))}"
    return Example(key, question, ", ".join(mixed), told(odd, right), told(same[0], other))


def listing(rng: random.Random) -> Example:
    """Some members of a class, as a numbered list."""
    name, other = rng.sample(sorted(CLASSES), 2)
    count = rng.randint(2, 5)
    start = rng.choice(("List", "Name", "Give me", "Write down"))
    number = ("two", "three", "four", "five")[count - 2]
    kind = rng.choice(("of the class", "that count as"))
    end = rng.choice(("", " as a numbered list", ", one a line"))
    chosen = rng.sample(CLASSES[name], count)
    spoilt = [*chosen[:-1], rng.choice(CLASSES[other])]

    def told(items: list[str]) -> str:
        return "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))

    question = f"{start} {number} things {kind} {name}{end}."
    return Example(question, question, "", told(chosen), told(spoilt))


def define(rng: random.Random) -> Example:
    """What a word means, which word has a meaning, or whether the two belong together."""
    word, other = rng.sample(sorted(DEFINITIONS), 2)
    meaning, wrong = DEFINITIONS[word], DEFINITIONS[other]
    kind = rng.random()
    if kind < 0.4:
        question = rng.choice((f"What is {_a(word)}?", f"Define the word {word!r}.", f"What does {word!r} mean?"))
        told = f"{_a(word).capitalize()} is"
        return Example(f"define {word}", question, "", f"{told} {meaning}.", f"{told} {wrong}.")
    if kind < 0.7:
        question = rng.choice(("Which word has this meaning?", "Name what is described."))
        return Example(f"name {word}", question, f"It is {meaning}.", f"The word is {word}.", f"The word is {other}.")
    fits = rng.random() < 0.3
    question = rng.choice(("Does the meaning fit the word?", "Is this definition right?"))
    given = f"Word: {word}\nMeaning: {meaning if fits else wrong}"
    yes, no = f"Yes, {_a(word)} is {meaning}.", f"No, {_a(word)} is {meaning}."
    return Example(f"fits {given}", question, given, yes if fits else no, no if fits else yes)


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def rewrite(rng: random.Random) -> Example:
    """A sentence in another tense, in the plural or as a question."""
    subject, plural = rng.choice(SUBJECTS)
    present, past, base, rest = rng.choice(VERBS)
    sentence = f"The {subject} {present} {rest}."
    forms = {
        "in the past tense": f"The {subject} {past} {rest}.",
        "in the future tense": f"The {subject} will {base} {rest}.",
        "with the subject in the plural": f"The {plural} {base} {rest}.",
        "as a question": f"Does the {subject} {base} {rest}?",
        "as its opposite": f"The {subject} does not {base} {rest}.",
    }
    how, other = rng.sample(sorted(forms), 2)
    question = rng.choice((f"Rewrite the sentence {how}.", f"Put this {how}:", f"Write the sentence again {how}."))
    return Example(f"{how} {sentence}", question, sentence, forms[how], forms[other])


def sort(rng: random.Random) -> Example:
    """Words in the order of the alphabet, or numbers by their size."""
    count = rng.randint(4, 6)
    if rng.random() < 0.6:
        every = sorted({word for words in CLASSES.values() for word in words})
        items = rng.sample(every, count)
        ordered = sorted(items)
        question = rng.choice(("Sort these words from A to Z.", "Put the words in alphabetical order."))
    else:
        numbers = rng.sample(range(2, 100), count)
        items = [str(number) for number in numbers]
        ordered = [str(number) for number in sorted(numbers)]
        question = rng.choice(("Sort these numbers, the smallest first.", "Put the numbers in ascending order."))
    place = rng.randrange(count - 1)
    wrong = list(ordered)
    wrong[place], wrong[place + 1] = wrong[place + 1], wrong[place]
    return Example(f"sort {' '.join(items)}", question, ", ".join(items), ", ".join(ordered), ", ".join(wrong))


def calendar(rng: random.Random) -> Example:
    """The day of the week some days before or after another."""
    day, days, later = rng.randrange(7), rng.randint(2, 40), rng.random() < 0.5
    found = (day + days if later else day - days) % 7
    where = "after" if later else "before"
    question = rng.choice(
        (
            f"What day is it {days} days {where} {DAYS[day]}?",
            f"Which day of the week is {days} days {where} a {DAYS[day]}?",
        )
    )
    rest = f"{days} days are {_count(days // 7, 'week')} and {_count(days % 7, 'day')}"

    def told(number: int) -> str:
        return f"{rest}, so {days} days {where} {DAYS[day]} it is {DAYS[number % 7]}."

    return Example(f"{days} {where} {day}", question, "", told(found), told(found + rng.randint(1, 6)))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


TASKS: dict[str, Task] = {
    "arithmetic": Task(0.20, arithmetic),
    "calendar": Task(0.08, calendar),
    "classify": Task(0.14, classify),
    "define": Task(0.10, define),
    "list": Task(0.10, listing),
    "rewrite": Task(0.12, rewrite),
    "sort": Task(0.14, sort),
    "units": Task(0.12, units),
}
