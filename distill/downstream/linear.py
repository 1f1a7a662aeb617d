"""The linear probe: logistic regression on frozen embeddings, its strength chosen by validation."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from distill.downstream.probe import Answer, Embedded, standardise
from distill.downstream.splits import TUNED_PATIENTS, validation

STRENGTHS = tuple(float(c) for c in 10.0 ** np.arange(-5, 3))  # inverse regularisation, C
UNTUNED = 1e-2  # where too few patients are left to validate on
STEPS = 300  # of L-BFGS; a fit that needs more is hardly regularised and validates badly


def linear_probe(
    train: Embedded,
    asked: NDArray[np.float32],
    *,
    seed: int = 0,
    tuned_patients: int = TUNED_PATIENTS,
) -> Answer:
    """Class probabilities of `asked`, (M, D), by multinomial logistic regression (L-BFGS).

    C is the one of `STRENGTHS` with the least cross-entropy on patients set aside from `train`;
    the probe is then fitted to all of `train`. Where there are fewer than `tuned_patients`, or
    they cannot be set aside, C is `UNTUNED`, and the answer's setting says so.
    """
    parts = validation(train.targets, train.owners, seed=seed, least_patients=tuned_patients)
    if parts is None:
        strength, note = UNTUNED, ", not validated"
    else:
        strength, note = _choose(train, *parts), ""
    known, wanted = standardise(train.embeddings, asked)
    model = _regression()
    _fit(model, strength, known, train.targets)
    return Answer(
        probs=np.asarray(model.predict_proba(wanted), np.float32),
        setting=f"C={strength:g}{note}",
    )


def _choose(train: Embedded, learn: NDArray[np.int64], validate: NDArray[np.int64]) -> float:
    known, held = standardise(train.embeddings[learn], train.embeddings[validate])
    model = _regression()
    losses = []
    for strength in STRENGTHS:  # rising, so that each fit starts from the last one's weights
        _fit(model, strength, known, train.targets[learn])
        predicted = model.predict_proba(held)
        labels = np.arange(train.n_classes)
        losses.append(float(log_loss(train.targets[validate], predicted, labels=labels)))
    return STRENGTHS[int(np.argmin(losses))]


def _regression() -> LogisticRegression:
    return LogisticRegression(max_iter=STEPS, tol=1e-3, warm_start=True)


def _fit(
    model: LogisticRegression,
    strength: float,
    rows: NDArray[np.float32],
    targets: NDArray[np.int64],
) -> None:
    model.set_params(C=strength)
    with warnings.catch_warnings():
        # Stopping at STEPS is meant: it is a mild regularisation by itself.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, targets)
