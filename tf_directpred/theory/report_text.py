"""What the theory's page says: for each figure its equation, as plain HTML, and two sentences."""

from typing import NamedTuple


class Figure(NamedTuple):
    """A figure's file stem, title, equation (HTML) and text (HTML)."""

    name: str
    title: str
    equation: str
    text: str


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Theory of non-contrastive learning</title>
<style>
body {{ font: 17px/1.55 Georgia, serif; color: #222; background: #fff; max-width: 1100px; margin: 2rem auto;
       padding: 0 1.2rem; }}
h1, h2, h3 {{ font-family: Helvetica, Arial, sans-serif; line-height: 1.25; }}
h2 {{ border-bottom: 1px solid #bbb; padding-bottom: .2rem; margin-top: 3rem; }}
.equation {{ background: #f4f6f8; border-left: 4px solid #0072b2; padding: .6rem 1rem; margin: .6rem 0;
            overflow-x: auto; white-space: nowrap; font-size: 1.05em; }}
.equation small {{ float: right; color: #666; padding-left: 2rem; }}
img {{ width: 100%; height: auto; }}
sub, sup {{ line-height: 0; }}
</style>
</head>
<body>
<h1>Why non-contrastive learning does not collapse</h1>
<p>Online weights <i>W</i>, predictor <i>W<sub>p</sub></i>, target <i>W<sub>a</sub></i>, correlation
<i>F</i> = <i>WXW</i><sup>⊤</sup> with eigenvalues <i>s</i>, eigenvalues <i>p</i> of <i>W<sub>p</sub></i>;
weight decay η, predictor rate α<sub><i>p</i></sub>, EMA rate β, augmentation variance σ², target ratio τ.
{{<i>A</i>,<i>B</i>}} = <i>AB</i> + <i>BA</i>, [<i>A</i>,<i>B</i>] = <i>AB</i> − <i>BA</i>. Lines are
integrated numerically from the equation beside them.</p>
{sections}
</body>
</html>
"""

_W_P, _W_A, _ALPHA = "<i>W<sub>p</sub></i>", "<i>W<sub>a</sub></i>", "α<sub><i>p</i></sub>"
_WPT = "<i>W<sub>p</sub></i><sup>⊤</sup>"
_DRIVE = f"(−{_W_P}<i>W</i>(<i>X</i>+<i>X</i>′) + {_W_A}<i>X</i>)"
_MODE = "[τ − (1+σ²)<i>p</i>]"

_LINEAR = (
    Figure(
        "weight_balance",
        "Encoder and predictor stay in balance",
        "<small>Theorem 1</small><i>W W</i><sup>⊤</sup> = "
        f"{_ALPHA}<sup>−1</sup> {_WPT}{_W_P} + e<sup>−2η<i>t</i></sup> <i>C</i>",
        "Along the flow of Lemma 1 the difference between <i>WW</i><sup>⊤</sup> and the predictor's square "
        "decays as e<sup>−2η<i>t</i></sup> whatever the target does, so weight decay ties the predictor to "
        "the encoder. The right panel shows how far the integrated trajectory is from the theorem: rounding, "
        "not theory.",
    ),
    Figure(
        "collapse",
        "Without stop-gradient or predictor the encoder collapses",
        "<small>Theorem 2</small>d vec(<i>W</i>)/d<i>t</i> = −<i>H</i> vec(<i>W</i>), &nbsp; <i>H</i> = "
        f"<i>X</i>′ ⊗ ({_WPT}{_W_P} + <i>I</i>) + <i>X</i> ⊗ ({_W_P} − <i>I</i>)<sup>⊤</sup>({_W_P} − "
        "<i>I</i>) + η<i>I</i>",
        "Only the runs with both a stop-gradient and a predictor keep their weights; every other one decays, "
        "without stop-gradient below the bound e<sup>−λ₀<i>t</i></sup>‖<i>W</i>(0)‖ of the smallest "
        "eigenvalue of <i>H</i>. A positive semi-definite <i>H</i> is not enough: where <i>X</i>′ is "
        "singular and η = 0 the noise-free directions survive (right).",
    ),
    Figure(
        "alignment",
        "Predictor and correlation align",
        "<small>Theorem 3</small>d<i>L</i>/d<i>t</i> = −(<i>LK</i> + <i>KL</i>), &nbsp; <i>L</i> = "
        f"[<i>F</i>, {_W_P}], &nbsp; <i>K</i> = (1+σ²)(½{_ALPHA}<i>F</i> + {_W_P}²) − τ{_W_P} + "
        "(3/2)η<i>I</i>",
        "Where <i>K</i> is positive definite the commutator decays monotonically, where it is not yet, it "
        "first rises; a larger predictor rate shortens that time. When everything collapses the raw "
        "commutator goes to 0 as e<sup>−3η<i>t</i></sup> while the normalised one freezes: vanishing is not "
        "aligning.",
    ),
)

_MODES = (
    Figure(
        "phase_portraits",
        "No, weak and strong weight decay",
        f"<small>eqs. 11–12</small>d<i>p</i>/d<i>t</i> = {_ALPHA}<i>s</i>{_MODE} − η<i>p</i>, &nbsp; "
        f"d<i>s</i>/d<i>t</i> = 2<i>ps</i>{_MODE} − 2η<i>s</i>",
        "Without decay a mode stays on its own parabola and two lines of fixed points receive it; with weak "
        "decay all flow meets on <i>s</i> = <i>p</i>²/α<sub><i>p</i></sub> and the saddle's stable manifold "
        "parts escape from collapse. With strong decay, η &gt; η<sub><i>c</i></sub>, the origin is the only "
        "fixed point and every start collapses.",
    ),
    Figure(
        "phase_portraits_paper",
        "The same for the decays of the paper's figure",
        "<small>eq. 14</small><i>s</i> = <i>p</i>²/α<sub><i>p</i></sub> + <i>c</i> e<sup>−2η<i>t</i></sup>, "
        "&nbsp; <i>c</i> = <i>s</i>(0) − <i>p</i>(0)²/α<sub><i>p</i></sub>",
        "At η = 0.01 the saddle lies at <i>p</i> = 0.0101 and the basin of collapse is a sliver on the "
        "right: almost every positive start escapes. Without decay a mode collapses exactly if <i>c</i> ≤ 0 "
        "and <i>p</i>(0) ≤ 0 or −α<sub><i>p</i></sub><i>c</i> ≥ (τ/(1+σ²))².",
    ),
    Figure(
        "bifurcation",
        "Two fixed points meet at the critical decay",
        "<small>eq. 16</small>d<i>p</i>/d<i>t</i> = <i>p</i>²" + _MODE + " − η<i>p</i>, &nbsp; "
        "<i>p</i><sub>±</sub> = (τ ± √(τ² − 4η(1+σ²))) / (2(1+σ²)), &nbsp; η<sub><i>c</i></sub> = "
        "τ²/(4(1+σ²))",
        "On the parabola the stable <i>p</i><sub>+</sub> and the unstable <i>p</i><sub>−</sub>, which bounds "
        "the basin of collapse, approach each other as decay grows and vanish at η<sub><i>c</i></sub>. "
        "Between (4/9) η<sub><i>c</i></sub> and η<sub><i>c</i></sub> a solution survives and alignment is "
        "never at risk.",
    ),
    Figure(
        "hyperparameters",
        "What predictor rate, weight decay and EMA do",
        "<small>Section 4</small><i>s</i><sub>0</sub>* ∝ 1/α<sub><i>p</i></sub>, &nbsp; "
        "<i>s</i><sub>+</sub> = <i>p</i><sub>+</sub>²/α<sub><i>p</i></sub>, &nbsp; "
        "<i>s</i> − <i>p</i>²/α<sub><i>p</i></sub> = <i>c</i> e<sup>−2η<i>t</i></sup>",
        "A faster predictor shrinks the basin of collapse at the price of a smaller <i>s</i><sub>+</sub>, "
        "weight decay forgets the start but widens the basin. A slower target (smaller β) keeps <i>K</i> "
        "closer to positive and pays with time and with a wider basin.",
    ),
    Figure(
        "alignment_condition",
        "When alignment is at risk",
        f"<small>eq. 17</small>Δ = <i>p</i>{_MODE} − η &lt; ½[{_ALPHA}(1+σ²)<i>s</i> + η] &nbsp;⇔&nbsp; "
        "<i>K</i> &gt; 0",
        "On the parabola α<sub><i>p</i></sub> cancels, and the growth Δ stays below the ceiling for every "
        "<i>p</i> once η &gt; τ²/(9(1+σ²)). Off it (right) a larger α<sub><i>p</i></sub> does shrink the "
        "region where <i>K</i> &lt; 0.",
    ),
    Figure(
        "target_curriculum",
        "The moving average is a curriculum",
        "<small>eq. 13</small>dτ/d<i>t</i> = β(1 − τ) − τ (d<i>s</i>/d<i>t</i>)/(2<i>s</i>)",
        "A target that starts empty lets τ rise slowly, which keeps <i>K</i> above or near 0 until the mode "
        "has grown. The slower the average, the later the mode grows, and τ dips once more while it does.",
    ),
)

_CLOSED_FORM = (
    Figure(
        "epsilon_revival",
        "DirectPred's ε revives small modes",
        "<small>eq. 18</small><i>p<sub>j</sub></i> = √<i>s<sub>j</sub></i> + ε max<sub><i>k</i></sub> "
        "<i>s<sub>k</sub></i>, &nbsp; "
        "a mode with <i>s<sub>j</sub></i> ≈ 0 grows iff <i>p</i><sub>−</sub> &lt; ε max<sub><i>k</i></sub> "
        "<i>s<sub>k</sub></i> &lt; <i>p</i><sub>+</sub>",
        "Setting the predictor to √<i>F</i> puts every mode on the invariant parabola, where those below "
        "<i>p</i><sub>−</sub> die. The lift ε <i>s</i><sub>max</sub> carries them over that threshold: of "
        "three modes one, two or all three survive as ε grows.",
    ),
    Figure(
        "survival",
        "Weight decay is a filter on augmentation variance",
        "<small>DirectSet</small><i>W<sub>p</sub></i> = <i>F</i><sup>α</sup>: &nbsp; feature <i>j</i> "
        "survives iff σ<sub><i>j</i></sub>² &lt; τ²/(4η) − 1, &nbsp; <i>p</i>* = (τ + √(τ² − "
        "4η(1+σ<sub><i>j</i></sub>²))) / (2(1+σ<sub><i>j</i></sub>²))",
        "What is left of a feature depends on how much the augmentation moves it, on decay, and not on the "
        "power α; markers are ends of the matrix flow. Features above the threshold die: weight decay "
        "chooses invariances.",
    ),
    Figure(
        "isoloss",
        "IsoLoss: every mode at one rate",
        "<small>IsoLoss</small>plain: d<i>s</i>/d<i>t</i> = 2<i>s</i>[λ − (1+σ²)λ² − η], &nbsp; "
        "isotropic: d<i>s</i>/d<i>t</i> = 2<i>s</i>[1 − (1+σ²)λ − η], &nbsp; λ = <i>s</i><sup>α</sup>",
        "The plain losses carry a factor λ that starves small modes, the isotropic ones drop it. With it "
        "goes the basin of collapse: all four starts reach λ* = (1−η)/(1+σ²), two of which die under the "
        "plain loss.",
    ),
)

_HEAD = (
    Figure(
        "head_regimes",
        "Substitution, then acceleration",
        "<small>Wen &amp; Li</small><i>F<sub>j</sub></i> = <i>f<sub>j</sub></i> + "
        "<i>E<sub>jk</sub></i> <i>f<sub>k</sub></i>, &nbsp; ‖<i>w</i>₂‖² + (3η/η<sub><i>E</i></sub>)"
        "(<i>E</i>₂₁² − <i>E</i>₁₂²) = const",
        "Neuron 1 learns feature 1 (I), the head then substitutes it for neuron 2 (II), whose second feature "
        "accelerates (III), and the head returns to the identity (IV). A frozen or slow head lets both "
        "neurons learn feature 1; one that is too fast substitutes for good.",
    ),
    Figure(
        "head_training",
        "Training on patches follows the flow",
        "<small>Wen &amp; Li</small><i>f<sub>j</sub></i>(<i>X</i>) = Σ<sub><i>p</i></sub> "
        "⟨<i>w<sub>j</sub></i>, <i>X<sub>p</sub></i>⟩³, &nbsp; <i>L</i> = 2 − E⟨BN(<i>F</i>), "
        "SG[BN(<i>G</i>)]⟩",
        "SGD on fresh batches of 1024 samples of patches, with the gradient of batch normalisation, stays "
        "with the nine-scalar flow through all four phases. The distance is gradient noise, which inflates "
        "the norms slowly because the loss cannot see them.",
    ),
    Figure(
        "random_starts",
        "Which head rates learn both features",
        "<small>Wen &amp; Li</small><i>w<sub>j</sub></i> ~ N(0, <i>I</i>/<i>d</i>), &nbsp; "
        "max<sub><i>j</i></sub> |cos(<i>w<sub>j</sub></i>, <i>v<sub>l</sub></i>)| &gt; 0.8 for "
        "<i>l</i> = 1, 2",
        "From random neurons a frozen head learns both features in a minority of starts (thin lines). A "
        "trainable head with the right rate learns both in most of them; much faster ones lose some again.",
    ),
)

_TRAINING = (
    Figure(
        "training_lemma1",
        "Training follows Lemma 1",
        f"<small>Lemma 1</small>d{_W_P}/d<i>t</i> = {_ALPHA}{_DRIVE}<i>W</i><sup>⊤</sup> − η{_W_P}, &nbsp; "
        f"d<i>W</i>/d<i>t</i> = {_WPT}{_DRIVE} − η<i>W</i>, &nbsp; d{_W_A}/d<i>t</i> = β(<i>W</i> − {_W_A})",
        "A linear network trained by this library on fixed pairs follows the flow at the moments of those "
        "pairs. Halving the learning rate halves the distance: what is left is the error of explicit Euler "
        "steps.",
    ),
    Figure(
        "training_directpred",
        "DirectPred's modes follow the one-dimensional flow",
        "<small>eq. 16</small>d<i>p</i>/d<i>t</i> = <i>p</i>²" + _MODE + " − η<i>p</i>",
        "Circles are the eigenvalues of the predictor that DirectPred sets during training, lines the flow "
        "from the same start. Modes that start above <i>p</i><sub>−</sub> meet at <i>p</i><sub>+</sub>, "
        "those below die.",
    ),
    Figure(
        "training_collapse",
        "Training collapses at the predicted rates",
        "<small>Theorem 2</small>no stop-gradient: d vec(<i>W</i>)/d<i>t</i> = −<i>H</i> vec(<i>W</i>), "
        "&nbsp; no predictor: d<i>W</i>/d<i>t</i> = −<i>W</i>(<i>X</i>′ + η<i>I</i>)",
        "The same training step without stop-gradient, or without predictor, loses its weights. Circles and "
        "squares are training, lines the flows at the moments of the batch.",
    ),
)

CHAPTERS = (
    ("The linear network", _LINEAR),
    ("One mode at a time", _MODES),
    ("Predictors in closed form", _CLOSED_FORM),
    ("A trainable prediction head", _HEAD),
    ("Theory against training", _TRAINING),
)
