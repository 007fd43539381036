"""Write docs/heads.md and its picture from the results of `benchmarks.heads` and `benchmarks.coverage`.

Usage: ``python -m benchmarks.heads_page``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import deep, few, forecast, heads_picture, lesson, maps, splits, views
from .coverage import RESULT as COVERAGE
from .heads import RESULT
from .machine import parser_of
from .markdown import markdown_table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "heads.md"
PICTURE = ROOT / "docs" / "images" / "heads.svg"

_TOP = """<!-- made by python -m benchmarks.heads_page from benchmarks/results/heads.json; do not edit -->
# Heads

The head is the part of a model that learns on the device. Embeddings `e` are mapped, `z = phi(e)`, and stored as
integers `round(4096 z)`.

**exact** (default) keeps counts `n_c`, sums `S_c` and the second moment `G = sum z z^T`, all in integers, so that the
state is bit for bit the same for any order, split, merge or forgetting. With the mean `m`, centered samples `X`, and
`Q_c = S_c - n_c m`:

    A = X^T X + lam I,   W = A^-1 Q,   b = n/N - W^T m       ridge (Hoerl and Kennard 1970)
    e_i / (1 - h_i)                                          left-out residual (Allen 1974), which chooses lam
    P = Q^T A^-1 Q,   R = (diag(n) - P)^-1,   U = (z - m) W
    score_k = N ((U R)_k - (R_kk - 1/n_k) / 2)               discriminant (Hastie, Tibshirani and Buja 1994)

With few samples of each label the discriminant is blended with a second readout of the same solution, which divides
the length of a label's direction out, because with one to three samples it is mostly noise; both readouts are brought
to the same size first (`device/heads/blend.py`), with the harmonic mean h of the counts and `e = (h / mean count)^4`:

    cosine_k = U_k / sqrt(P_kk),   score = (1 - s) discriminant + s cosine,   s = (1.5 / (h + 1))^(1/2 + e/2)

The ridge has the least `log PRESS + 0.4 / h (log10 lam - 0.5 - 0.5 / h^3)^2`, for lam relative to the mean eigenvalue: with
few samples per label the residuals alone choose too small a ridge. Both depend on counts and P alone, so everything stays
exact. The constants were chosen on the five sets of `python -m benchmarks.few`, whose table is below: 0 to 4 points with one
to three samples of each label, little from ten on, and 5 to 25 points of balanced accuracy for labels as uneven as 20:1.

A block J of samples (a burst) is left out exactly, without refitting, with `H = X_J A^-1 X_J^T`,
`F = (I - 11^T/N - H)^-1`, `E = Y_J - 1 n'^T/N'`, `V = U - H E`:

    U' = (I + 11^T/N') (V + H F V),   P' = P - U^T E - E^T U + E^T H E + V^T F V

The temperature (Guo et al. 2017, targets as in Platt 1999) and the unknown threshold (conformal quantile, Vovk et al.
2005) are computed from left-out scores. The unknown score is the sum of the relative Mahalanobis distance (Ren et al.
2021) and the cosine distance to the nearest mean, each standardized by left-out samples. With more than 256 samples,
256 of them, selected by content hash (bottom-k sampling, Cohen and Kaplan 2007), represent all. **lda** shrinks the
covariance by OAS (Chen et al. 2010); **ncm** is imprinting (Qi et al. 2018); **softmax** takes the model file's `train`
steps with class-balanced replay, of stored samples or of [generated images](gray.md#replay-of-generated-images);
**knn** votes.

`--priors` (`priors=` of `Learner.open`) sets how frequent the labels are expected to be: `even`, the default, or `taught`,
which adds `w log(n_c / N)` to the calibrated scores; the weight w, 0 to 1, is chosen with the temperature from left-out
scores, because the scores of rare labels are low already. With **lda** and **knn** the default is `taught`; for even
priors, **knn** divides the votes of a label by the number of its samples. **softmax** has no such setting,
because what it expects depends on the order of its steps.

Systems are solved by Cholesky factors, from inner products while there are fewer samples than dimensions, otherwise
from `G`. Integers are multiplied in float32 if the Cauchy-Schwarz inequality proves that this is exact (for rows whose
squares sum to at most `2^24`, float32 represents every partial sum), otherwise in float64: the same bits in half the
time. The stored state packs each row of `G` in as many bits as its largest number needs.

A prediction after a lesson does not wait for a new solution. From 100 samples on, the last complete one is updated by the
lessons since (Woodbury 1950, `device/heads/update.py`), at the ridge, temperature and threshold that it had, until a
twentieth of the samples or 32 are new. Reports, exports and `probabilities` always use the complete solution, which does not
depend on the order; `serve`, `run` and `buttons` compute it in the background half a second after the last lesson, or when a
twentieth is new, and update the last one until a tenth is new meanwhile (`Learner.settling`). `python -m benchmarks.lesson`
measures the time. `status` shows the report from before the latest lessons until a tenth of the samples is new, with the
number of samples that it leaves out.

The exact and the lda head compare all pairs of labels, so they can have at most 2,000 of them; **ncm** has no limit.

One sample of every label is left out at a time. With few samples of many dimensions, the label that loses a sample
has a noisier mean than the others, so leaving out one sample by itself is too pessimistic. Estimates are for the mix
of labels that was taught.

*How this was chosen.* On sets that are not reported here, with the same backbone: MNIST (ten digits, five of them,
and pairs) and the monocrystalline cells of ELPV. On MNIST with 5 and 10 samples per label, three alternatives were
tried: the left-out likelihood instead of the squared residual, its average over all ridges, and ridges up to the class
means. None was better, so none is used. The ridge of the selection is used for any number of samples, as with a
Gaussian prior; on 450 to 1,875 samples of both sets this was as good as or better than a ridge that grows. ELPV's
monocrystalline cells are a part of the reported ELPV; the embedding map and the first form of the head were chosen
after an earlier look at the reported sets.

*Peers* receive the same mapped embeddings as our heads, with which they are better than with raw ones; Coral's two
receive what Coral uses (directions, raw). The rates of the SGD peers and C of the offline logistic regression are chosen
on a quarter of the training part if it is large enough (4 samples per label; 40 for C, otherwise C = 100). With few
samples that choice is noisy: at a fixed rate of 0.5, SGD + replay was better with 5 samples per label, but never the
best peer.
"""

_PAIRED = """*holds* compares the means. The last column is the mean difference over the draws of both, with its standard
error: *not behind* means not by more than the standard error. "Best peer" is the best one on the same draws, which
favors the peers.

"""

_ESTIMATE = """## The estimate of `status`, and the coverage of its interval

`edgetl status` leaves each sample out, together with its burst and its look-alikes, and predicts it. Photos of one
folder are grouped by `device.lookalikes`: by phase correlation of small gray copies (Kuglin and Hines 1975; candidates
by difference hash), at a level that the best matches between different labels of the same set do not reach; by file
numbers if they are those of a recording; and by the capture time in EXIF. `finetune` keeps a group in one part,
`convert` writes the groups into the memory, and `teach --photos` makes each group a burst. Share of photos that are not
grouped: flower-photos5 99.8 %, ants-bees 99.5 %, ELPV 94 % (all its cells look alike, and the level is .95). The
1,440 frames of COIL-20's turntable form 25 groups for 20 objects. 40 scenes of 8 frames with labels drawn at random
form 40 groups: `finetune`, which reported 1.000 before, reports .73 (.39 to .92) on 8 validation scenes, and `status`
.65 (.45 to .80).

The 95 % interval is Wilson's, on the number of independent judgments: the number of groups, or fewer if their sizes
differ (Kish 1965). Judgments from leave-one-out are correlated, because their heads share nearly all samples (Bates, Hastie and
Tibshirani 2023): the variance was 1.6 times that of independent ones with 50 samples, 1.3 with 100 and 1.1 with 200,
so the number is divided by `1 + 30 / max(N, 50)`. That factor was fitted on the same sets, with other splits. The
head chooses ridge and temperature by leaving out single samples, not groups: near-duplicates make it more confident,
but do not affect the estimate. A memory of sums (`Sums`) instead of samples keeps no groups.

`python -m benchmarks.coverage FOLDER ... --elpv --digits [--tuned]` draws 40 photos per label at random, whole
groups, and holds out all others (at most 800 with `--tuned`), which neither training, conversion nor teaching uses.
*In interval*: the held-out accuracy, with the labels weighted by the shares taught, is in the interval that `status`
shows. *Agrees*: the two accuracies differ by no more than both samples explain (Newcombe 1998). No estimate from a set
of photos covers another place or another camera. The tuned splits ran with edgetl at b826aa8 to 241eab7, when `edgetl
finetune` trained the last two blocks by default; only the photos held out from that may judge, so their intervals are wide.

"""

_EARLIER = """
The other tables of this page were measured with edgetl 0.2.0, before scores were blended.
"""

_SIMULATED = """The frames are simulated: embeddings with noise.

"""

_LIMITS = """
## Where a target is missed, and why

- *Differences of less than a point* between exact, Deep SLDA, imprinting and offline logistic regression are mostly
  within the standard error of the paired difference: they find the same linear boundary with different regularization.
  If the mean is below, the target is missed all the same.
- *Ants-bees* favors raw embeddings and class means with few samples per label. The backbone was trained on these
  classes, perhaps photos. `python -m benchmarks.maps` (table above) shows that raw embeddings gain up to two points
  there and lose up to three on ELPV. Leaving samples out is too noisy to choose with so few samples.
- *The ridge* is not the reason: the best one in hindsight, the same for all draws and chosen on the test samples, gains about
  as much as that choice favors it.
- *A kernel in place of the linear map* pays where the embedding itself is short: 2,048 random features of an RBF kernel gain
  4.4 points on raw pixels with all samples (table above), as much as `edgetl convert --products` does with 2,144 numbers, and
  on embeddings of the backbone no more than their standard error or two. They cost one and a half times the memory of the
  embedding and a product with 2.6 million numbers per frame, so there is no kernel head.
- *ELPV with 5 and 10 samples per label* is a matter of the ten draws: over 40 (`python -m benchmarks.few --sets elpv
  ants-bees --shots 5 10 --uneven --draws 40`) exact is 0.5 ± 0.2 points behind the best other and 0.4 ± 0.3. On ants-bees
  it stays 0.9 ± 0.3 and 0.8 ± 0.2 points behind logistic regression on raw embeddings.
- *digits*, raw pixels: three neighbors among all samples are better than every linear map of 64 pixels. `edgetl convert
  --products` appends the products of all pairs to an embedding of at most 128 numbers (it was tried first on MNIST
  shrunk to 8 x 8 pixels). Converted in this way (`digits-products`), the exact head is ahead of all peers, on pixels and
  on products. It is an option and not the default because the state grows with the square of the dimensions: about 9 MB
  for these 64 pixels if there are more samples than the 2,144 products and pixels.
- *The estimate on ELPV with k = 20* was once reported 8.8 points too low. That was over ten draws of 40 samples each,
  compared with the accuracy in the set's own mix, of which two thirds are the easier label, which a head with 20
  samples per label cannot know. The gap to the mean of the recalls, over 60 draws, is in the table. Leaving out one
  sample of each label changed it little here, and by one to seven points with 5 samples per label on the development
  sets.
- *Coral's 500 iterations*: ours is not twenty times faster. They are 500 small products in float32; 1,000 samples of
  1,280 numbers need a million inner products and a system of 1,000 equations, which alone take longer than a twentieth
  of that. With 256 numbers, ours is about five times faster. However, 500 iterations on raw embeddings have not
  converged, and 50,000 iterations with a chosen rate, which take a hundred times longer than ours, are still less
  accurate.
- *A prediction after every single sample* (`every sample` in the cost table, measured before solutions were updated) needed
  a complete solve each time. `python -m benchmarks.lesson` shows what a lesson costs now.
- *The sketch* that calibrates a long stream is not included in the 150 KiB; its size is in the table.
- Times were taken on a busy two-core machine: read them as ratios.
"""


_VIEWS = """
## Views

`--views flip` embeds each frame and its mirror image and uses the mean of both embeddings, in teaching and in predicting.
The model file names the views of its memory and the state file those of its samples, so that they always agree. An embedding
takes twice the time; size and state are the same. `edgetl views MODEL` measures the gain on what was taught, by leaving
samples out with their look-alikes, and `edgetl convert --views flip` on the training photos. With few samples that figure is
as noisy as the samples are few: it comes with its standard error, and a clear gain is more than two of them.

`python -m benchmarks.views`: accuracy of exact with one view, paired gain of `flip` in points, and in brackets the mean gain
that leaving samples out reports. On these sets the second view gains about a point at most, mostly less than its error, and
sometimes costs half a point, so it is an option and not the default.

"""


_DEEP = """
## Deeper embeddings

`edgetl convert --embedding deep` puts the averages of two earlier feature maps beside the embedding of the backbone: the last
of the widest maps at the resolution before the final one, and the middle one of the widest at the final resolution
(`converters/deep.py`). It is meant for photos unlike those that the backbone was trained on, such as drawings, digits or
textures. With one to five photos per label of everyday things it costs up to two points, so it is an option and not the default.

`python -m benchmarks.deep`: accuracy of exact with the last layer, and the paired gain of `deep` in points; below it the cost,
with the processor time of one thread.

"""

_MAPS = """
## Other embedding maps, and the best ridge in hindsight

`python -m benchmarks.maps`: accuracy of exact with its own map (power 1/2) and its own ridge, and paired gains in points of
other maps and of the single ridge that is best on the test samples.

"""


_OUTLOOK = """
## The forecast: is it good enough?

`edgetl status --forecast` and the page forecast the accuracy with twice as many photos of each label, for all labels together
and per label. Heads that learn a quarter, half and three quarters of the groups predict the other groups; bursts and
look-alikes stay together, and photos that tuned the backbone do not judge. These errors and the leave-one-out error are
extrapolated by `e(r) = E (a + (1 - a) r^-c)` for r times the samples (a power law with a remainder, Cortes et al. 1993), with
priors on E, c and a, on a grid; the shape of the curve of all labels is the prior for each label. The interval contains nine
of ten forecasts. A label is *done* if, with a probability of nine in ten, twice as many photos gain less than two points. With
fewer than five separate views, a label is not forecast.

The few constants were chosen on these five sets, with other draws. From ten photos per label, the data determine the slope only
roughly, so that most of the forecast is the prior: where the curve is unusually flat (elpv) it is 4 to 8 points too
optimistic. The forecast is for photos like those that were taught, and for all labels growing alike: a label that alone gets
more photos gains more, at the expense of the others.
"""
_SPLITS = """
## Labels that are mixed up, and labels that hold two things

`status` names the two labels that are mixed up most, relative to their numbers of samples, with the samples of each that
look most like the other.

It also reports a label that seems to hold two things. The graph of the five nearest neighbors among its views is cut in two by
the second eigenvector of its Laplacian (Shi and Malik 2000); if less than 3.8 % of the edges of the smaller part cross the
cut, the label is reported. Neighbors are found in the metric of the spread within the other labels, so that light, place and
angle, which vary in every label, do not count. It needs 40 separate views and another label. The table has how often ordinary
labels are reported, and two labels joined into one. Not all of these labels are one thing: both labels of elpv contain cells
of mono- and of polycrystalline silicon, which look different, and digits are written in more than one way.
"""


def main() -> None:
    """Write the page and the picture."""
    out = parser_of(__doc__, out=PAGE).parse_args().out
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    PICTURE.write_text(heads_picture.draw(result["k_shot"]), encoding="utf-8")
    out.write_text(_page(result), encoding="utf-8")


def _page(result: dict[str, Any]) -> str:
    parts = [
        _TOP,
        "![The accuracy of other heads with 1, 5 and 20 samples per label, compared with exact](images/heads.svg)\n",
    ]
    parts.append("## Targets\n\n" + _PAIRED + _targets(result["targets"]))
    parts.append("\n" + _ESTIMATE + _coverage())
    parts.append("\n## Three quarters learned in one pass; mean and deviation\n\n" + _full(result["full"]))
    parts.append(_OUTLOOK + forecast.page() + _SPLITS + splits.page())
    parts.append(
        few.page()
        + _MAPS
        + maps.page()
        + _VIEWS
        + views.page()
        + _DEEP
        + deep.page()
        + lesson.page()
        + _EARLIER
    )
    for name, rows in result["k_shot"].items():
        shots = [[peer, *(_share(row[k]) for k in row)] for peer, row in rows.items()]
        parts.append(
            f"\n## k samples per label: {name}\n\n" + markdown_table(["", "1", "2", "5", "10", "20"], shots)
        )
    parts.append("\n## One class after another: final accuracy / forgetting\n\n" + _incremental(result))
    estimates = [[name, *row.values()] for name, row in result["bursts"].items()]
    head = ["", "left out one by one", "burst left out", "held out", "gap", "its standard error"]
    parts.append(
        "\n## Bursts of five near-duplicates, 20 per label, mean of 20 draws\n\n"
        + _SIMULATED
        + markdown_table(head, estimates)
    )
    unknown = result["unknown"]["auroc"]
    scores = [[name, *(unknown[where][name] for where in unknown)] for name in next(iter(unknown.values()))]
    parts.append("\n## Unknown: area under the ROC curve\n\n" + markdown_table(["score", *unknown], scores))
    parts += [_costs(result["cost"]), _sizes(result["projection"])]
    return "\n".join(parts) + _LIMITS


def _coverage() -> str:
    """Return the table of `benchmarks.coverage` and the machines that it was measured on."""
    result = json.loads(COVERAGE.read_text(encoding="utf-8"))
    rows = []
    for name, row in result["summary"].items():
        counts = [f"{row['raw']} of {row['judged']}", f"{row['agree']} of {row['judged']}"]
        figures = [f"{row[key]:.3f}" for key in ("estimate", "truth")]
        rows.append([name, row["samples"], *counts, *figures, f"{row['bias']:+.3f}", f"{row['width']:.3f}"])
    head = ["set", "judged", "in interval", "agrees", "estimate", "held out", "bias", "width"]
    measured = []
    for mode in ("frozen", "tuned"):
        if place := result.get(mode):
            measured.append(
                f"{mode}: {place['cpu']}, {place['cores']} cores, {place['system']}, Python {place['python']}, "
                f"{place['runtime']}, TensorFlow {place['versions'].get('tensorflow', 'none')}, edgetl at "
                f"{place['commit']}, {place['when'][:10]}"
            )
    tuned = sum("tuned" in name.split() for name in (key.rpartition(" ")[0] for key in result["runs"]))
    short = (
        f"\n{tuned} tuned splits have run, of ten per set; a split takes four to seven minutes. So few say nothing about "
        "coverage.\n"
    )
    return markdown_table(head, rows) + short * (tuned < 40) + "\nMeasured on " + "; ".join(measured) + ".\n"


def _costs(cost: dict[str, Any]) -> str:
    rows = [[count, *row.values()] for count, row in cost["update"].items()]
    head = ["N", "amortized ms", "of an embedding", "every sample ms", "of an embedding"]
    against = cost["against_coral"]
    runs = [
        [name, row["seconds"], row["accuracy"], row.get("times_faster", "")]
        for name, row in against.items()
        if isinstance(row, dict)
    ]
    return (
        f"\n## Cost (embedding: {cost['embedding']['p50_ms']} ms)\n\n"
        + markdown_table(head, rows)
        + f"\n## Training on {against['samples']} samples of {against['classes']} classes ({against['set']})\n\n"
        + markdown_table(["", "seconds", "accuracy", "times faster than Coral's 500 iterations"], runs)
    )


def _sizes(projection: dict[str, Any]) -> str:
    rows = [
        [name, count, *(f"{size / 1024:.1f}" for size in kept.values())]
        for name, row in projection.items()
        for count, kept in row["bytes"].items()
    ]
    return "\n## State with 256 dimensions, KiB\n\n" + markdown_table(["", "N", "statistics", "sketch"], rows)


def _full(full: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for rows in full.values() for name in rows))
    rows = [[name, *(_share(full[kind].get(name)) for kind in full)] for name in names]
    return markdown_table(["", *full], rows)


def _incremental(result: dict[str, Any]) -> str:
    found = result["class_incremental"]
    names = list(dict.fromkeys(name for rows in found.values() for name in rows))

    def cell(row: dict[str, float] | None) -> str:
        return f"{row['final']:.3f} / {row['forgetting']:.3f}" if row else "-"

    return markdown_table(
        ["", *found], [[name, *(cell(found[kind].get(name)) for kind in found)] for name in names]
    )


def _targets(targets: list[dict[str, Any]]) -> str:
    def shown(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    rows = [
        [row["target"], shown(row["measured"]), "yes" if row["holds"] else "**no**", row["paired"]]
        for row in targets
    ]
    return markdown_table(["target", "measured", "holds", "exact ahead, paired"], rows)


def _share(row: dict[str, float] | None) -> str:
    return f"{row['accuracy']:.3f} ± {row['deviation']:.3f}" if row else "-"


if __name__ == "__main__":
    main()
