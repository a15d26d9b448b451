"""ClayHeads: a procedural world of clay-like heads whose truth is known.

A head is a row of named factors; the renderer turns rows into pictures with depth, camera and
landmarks, and into words. The embedded models are trained on it, and claims about edits are tested
against it.
"""

from ganedit.data.clayheads.captions import Caption, caption, grammar_words, say, vary_caption
from ganedit.data.clayheads.claims import CLAIMS, Claim, holds, together, true_claims
from ganedit.data.clayheads.factors import (
    FACTOR_INDEX,
    FACTORS,
    HAIR_STYLES,
    Factor,
    sample_factors,
)
from ganedit.data.clayheads.render import LANDMARKS, ClayHeads, landmark_positions, render
from ganedit.data.clayheads.truth import ClayTruth, read_truth

__all__ = [
    "CLAIMS",
    "FACTORS",
    "FACTOR_INDEX",
    "HAIR_STYLES",
    "LANDMARKS",
    "Caption",
    "Claim",
    "ClayHeads",
    "ClayTruth",
    "Factor",
    "caption",
    "grammar_words",
    "holds",
    "landmark_positions",
    "read_truth",
    "render",
    "sample_factors",
    "say",
    "together",
    "true_claims",
    "vary_caption",
]
