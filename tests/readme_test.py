"""README's code, run as printed."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)

EXPORT = """
import numpy as np
from tf_directpred.export import export
from tf_directpred.networks import ENCODERS
export(ENCODERS.create("convnet"), "runs/demo", None, (32, 32, 3))
images, labels = np.zeros((20, 32, 32, 3), "uint8"), np.arange(20) % 10
"""


def run(code, folder):
    """Runs code as a user's program in `folder`."""
    (folder / "program.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env={"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def block(opening):
    (found,) = [code for code in BLOCKS if opening in code]
    return found


def test_training_from_keras_code(tmp_path):
    run(block("model.fit(batches") + "\nassert representations.shape == (64, 64)\n", tmp_path)
    assert {"model.keras", "logs", "history.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_exported_encoders_load_without_the_package(tmp_path):
    run(EXPORT, tmp_path)
    images = EXPORT.strip().splitlines()[-1].replace("np.", "numpy.")
    check = "import sys\nassert not any(name.startswith('tf_directpred') for name in sys.modules)\n"
    saved_model, keras_file = block("tf.saved_model.load"), block("keras.saving.load_model")
    shape = "assert representation.shape == (2, 128)\n"
    run(f"{saved_model}{shape}import numpy\n{images}\n{keras_file}{check}", tmp_path)


def test_a_predictor_of_ones_own(tmp_path):
    use = """
from tf_directpred.predictors import PREDICTORS
layer = PREDICTORS.create("tracecopy(rho=0.5)")
layer.build((None, 2))
layer.update(online=(tf.constant([[3.0, 0.0], [0.0, 1.0]]),), target=())
print(layer.kernel.numpy().tolist())
"""
    printed = run(block("class TraceCopyLayer") + use, tmp_path)
    assert printed.strip().splitlines()[-1] == "[[0.8999999761581421, 0.0], [0.0, 0.10000000149011612]]"


def test_flagfiles_that_are_named_exist():
    named = set(re.findall(r"configs/\w+\.cfg", README))
    assert named and all((ROOT / name).is_file() for name in named)


def test_flags_that_are_named_exist():
    from tf_directpred.config import Config

    known = set(Config.__dataclass_fields__) | {"flagfile", "helpfull", "flag"}
    named = set(re.findall(r"--([a-z_]+)\b", README))
    assert named <= known, named - known
