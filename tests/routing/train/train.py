"""Learns the weights of routing from labelled requests, and writes the migration that ships them.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    DATABASE_URL=postgres://… venv/bin/python train.py            # a database migrated to this build
    DATABASE_URL=postgres://… venv/bin/python train.py --check    # only says how well it does

Which words of a request count is decided by the database (hub_internal.request_features), here as in use. The same files give the
same weights.
"""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

HERE = Path(__file__).parent
MIGRATION = HERE.parents[2] / "migrations" / "V20261120090615__routing_weights.sql"
KINDS = ["code", "edit", "fix", "test", "review", "research", "docs", "ops", "plan", "data", "design", "other"]
MADE_OF_EACH = 2000  # requests made by the grammar, of each kind; half of it for edit, which is narrow
WRITTEN = 6.0  # what one written by hand counts, against one that is made
LEFT_OUT = 0.3  # of the features, in a second copy of those written by hand
STRENGTH = 0.07  # the inverse of how much large weights are punished
SEEN_IN = 3  # requests that a feature must be in
KEPT = 19980  # weights


def grammar(path):
    """The vocabularies, and the frames of each kind."""
    words, frames, kind = {}, {}, None
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            kind = heading[1]
            frames.setdefault(kind, [])
        elif listed := re.fullmatch(r"(\w+): (.+ \| .+)", line):
            words[listed[1]] = listed[2].split(" | ")
        else:
            frames[kind].append(line)
    return words, frames


def made(words, frames):
    """Requests of the grammar: every frame and every word as often as any other."""
    chance = random.Random(17)
    decks = {}

    def draw(name, cards):
        if not decks.get(name):
            decks[name] = chance.sample(cards, len(cards))
        return decks[name].pop()

    requests = []
    for kind, of_kind in frames.items():
        wanted = MADE_OF_EACH // 2 if kind == "edit" else MADE_OF_EACH
        found = set()
        for _ in range(3 * wanted):
            if len(found) == wanted:
                break
            text = draw(f"[{kind}]", of_kind)
            if chance.random() < 0.1:
                text = "{before} " + text
            elif chance.random() < 0.1:
                text += ". {after}"
            while slot := re.search(r"\{(\w+)\}", text):
                text = text[: slot.start()] + draw(slot[1], words[slot[1]]) + text[slot.end() :]
            found.add(re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\s+,", ",", text)))
        requests += [(kind, text) for text in sorted(found)]
    return requests


def written():
    return [tuple(line.split("\t")) for line in (HERE / "written.tsv").read_text().splitlines()]


def seen():
    """The requests of seen.tsv, whose scripted edits are those that go to codex though nobody says so."""
    requests = []
    for line in (HERE.parent / "seen.tsv").read_text().splitlines()[1:]:
        content, preference, kind, model, _ = line.split("\t")
        scripted = kind == "code" and model == "codex" and not preference and "codex" not in content.lower()
        requests.append(("edit" if scripted else kind, content))
    return requests


def features(requests):
    def escaped(text):
        return text.replace("\\", "\\\\").replace("\t", "\\t")

    rows = "".join(f"{n}\t{escaped(text)}\n" for n, (_, text) in enumerate(requests))
    asked = (
        "create temp table requests (n int, content text);\ncopy requests from stdin;\n" + rows + "\\.\n"
        "copy (select array_to_string((hub_internal.request_features((hub_internal.request_sentences(hub_internal.said_text(content)))"
        ".marked)).features, E'\\x01') from requests order by n) to stdout;\n"
    )
    done = subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", os.environ["DATABASE_URL"]],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
    )
    return [sorted(set(line.split("\x01")) - {""}) for line in done.stdout.split("\n")[:-1]]


class Weights:
    """Learned from all features at first; then the weights that matter least are dropped, and the others learned without them."""

    def __init__(self, told, labels, counts):
        often = Counter(feature for one in told for feature in one if not re.fullmatch("[;>^]?[a-z]", feature))  # a letter says nothing
        self.place = {name: n for n, name in enumerate(sorted(name for name, n in often.items() if n >= SEEN_IN))}
        numbers = numpy.array([often[name] for name in self.place])
        # What is rare may weigh more: "glossary" says more than "the".
        rare = numpy.sqrt(numpy.log(len(told) / numbers))
        asked = self.matrix(told)
        wanted = numpy.array([KINDS.index(kind) for kind in labels])
        model = LogisticRegression(C=STRENGTH, max_iter=400, tol=1e-3)
        model.fit(asked @ diags(rare), wanted, sample_weight=counts)
        # Only differences count, so what a word says of most kinds may be nought.
        of = model.coef_ * rare
        of = of - numpy.median(of, axis=0)
        worth = numpy.abs(of) * numbers**0.25
        kept = worth > numpy.sort(worth, axis=None)[-KEPT - 1]
        self.learn_again(asked, wanted, numpy.array(counts), kept, of, numpy.broadcast_to(rare, of.shape)[kept], model.intercept_)

    def learn_again(self, asked, wanted, counts, kept, of, rare, bias):
        back, rows = asked.T.tocsr(), numpy.arange(len(wanted))

        def spread(some):
            weights = numpy.zeros(kept.shape)
            weights[kept] = some[: len(rare)] * rare
            return weights

        def loss(some):
            sums = numpy.asarray(asked @ spread(some).T) + some[len(rare) :]
            sums -= sums.max(axis=1, keepdims=True)
            shares = numpy.exp(sums)
            total = shares.sum(axis=1)
            missed = (counts * (numpy.log(total) - sums[rows, wanted])).sum()
            shares /= total[:, None]
            shares[rows, wanted] -= 1
            shares *= counts[:, None]
            slope = numpy.asarray(back @ shares).T
            large = some[: len(rare)]
            return (
                STRENGTH * missed + large @ large / 2,
                numpy.concatenate([STRENGTH * slope[kept] * rare + large, STRENGTH * shares.sum(axis=0)]),
            )

        begin = numpy.concatenate([of[kept] / rare, bias])
        found = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 50}).x
        self.of = spread(found).round(2)
        self.bias = found[len(rare) :].round(2)

    def matrix(self, told):
        places = [[self.place[feature] for feature in one if feature in self.place] for one in told]
        ends = numpy.cumsum([0] + [len(one) for one in places])
        return csr_matrix((numpy.ones(ends[-1]), [n for one in places for n in one], ends), shape=(len(told), len(self.place)))

    def kinds(self, told):
        return [KINDS[n] for n in numpy.asarray(self.matrix(told) @ self.of.T + self.bias).argmax(axis=1)]


def types(kinds):
    return ["code" if kind == "edit" else kind for kind in kinds]


def right(found, wanted):
    return 100 * numpy.mean([a == b for a, b in zip(types(found), types(wanted))])


def check(generated, hand, apart):
    """On what it has not learned from: each fifth of those written by hand, and seen.tsv, of another author."""
    labels = [kind for kind, _ in hand]
    found = [None] * len(hand)
    for learned, asked in KFold(5, shuffle=True, random_state=17).split(hand):
        weights = learn(generated, ([hand[n] for n in learned], [hand_features[n] for n in learned]))
        for n, kind in zip(asked, weights.kinds([hand_features[n] for n in asked])):
            found[n] = kind
    print(f"written by hand: {right(found, labels):.1f} % of {len(hand)}")
    weights = learn(generated, (hand, hand_features))
    print(f"seen.tsv: {right(weights.kinds(features(apart)), [kind for kind, _ in apart]):.1f} % of {len(apart)}")
    if "-v" in sys.argv:
        for n, (kind, text) in enumerate(hand):
            if types([kind]) != types([found[n]]):
                print(kind, "->", found[n], "|", text)


def learn(generated, *hand):
    """Of pairs (requests, features). Those written by hand are learned as they are and with gaps, so that no word is relied on alone."""
    chance = random.Random(17)
    told, labels, counts = list(generated[1]), [kind for kind, _ in generated[0]], [1.0] * len(generated[0])
    for requests, features_of in hand:
        for (kind, _), one in zip(requests, features_of):
            gaps = [feature for feature in one if chance.random() >= LEFT_OUT]
            told += [one, gaps]
            labels += [kind, kind]
            counts += [WRITTEN / 2, WRITTEN / 2]
    return Weights(told, labels, counts)


def migration(weights):
    lists = []
    for n, kind in enumerate(KINDS):
        items = [f"{name} {weights.of[n, place]:g}" for name, place in weights.place.items() if weights.of[n, place]]
        lines, line = [], ""
        for item in items:
            if len(line) + len(item) > 106:
                lines.append(line + ",")
                line = item
            else:
                line = f"{line}, {item}" if line else item
        lists.append(f"  ('{kind}', {weights.bias[n]:g}, $$\n" + "\n".join(lines + [line]) + "$$)")
    return (
        "-- Why: which words speak for which kind of work. Made by tests/routing/train: change what it learns from,\n"
        "-- and make it anew.\n\n"
        "with learned (kind, bias, list) as (values\n" + ",\n".join(lists) + "\n"
        "), said (feature, kind, weight) as (\n"
        "  select '', l.kind, l.bias\n"
        "    from learned l\n"
        "   union all\n"
        "  select regexp_replace(i.item, ' [^ ]+$', ''), l.kind, substring(i.item from '[^ ]+$')::real\n"
        "    from learned l, regexp_split_to_table(btrim(l.list, E'\\n'), ',\\s+') i (item)\n"
        "), kinds (kind, place) as (\n"
        "  select l.kind, row_number() over (order by l.kind) from learned l\n"
        ")\n"
        "insert into hub_internal.routing_weights (feature, weights)\n"
        "select f.feature, array_agg(coalesce(s.weight, 0)::real order by k.place)\n"
        "  from (select distinct s.feature from said s) f\n"
        " cross join kinds k\n"
        "  left join said s on s.feature = f.feature and s.kind = k.kind\n"
        " group by f.feature;\n"
        "\n"
        "analyze hub_internal.routing_weights;\n"
    )


made_ones = made(*grammar(HERE / "grammar.txt"))
made_set = (made_ones, features(made_ones))
hand = written()
hand_features = features(hand)
if "--check" in sys.argv:
    check(made_set, hand, seen())
else:
    others = seen()
    MIGRATION.write_text(migration(learn(made_set, (hand, hand_features), (others, features(others)))))
