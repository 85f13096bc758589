"""From a folder of images to a verdict; the cells (# %%) open as a notebook in Jupyter (jupytext), VS Code and PyCharm.

python examples/own_images.py MY_IMAGES [settings]     with MY_IMAGES/<class>/*.png
"""

# %% What is there?
import sys

import trigan

folder, *settings = sys.argv[1:] or ["MY_IMAGES"]
images = trigan.data("folder", root=folder, image_size=32)
print(f"{len(images.images)} images of {', '.join(images.class_names)}")

# %% One draw of the split: 5 labels per class, the rest of the training images without labels, a sealed test set
split = trigan.draw(images, labels_per_class=5, trial=0)
view = split.view
print(f"{len(view.labelled.images)} labelled, {len(view.unlabelled)} unlabelled, {len(split.test)} to test on")

# %% One run: the classifier alone
data = ["data=folder", f"data.root={folder}", "data.image_size=32", "regime.labels_per_class=5"]
common = [*data, "logger=none", *settings]
alone = trigan.run("strategy=baseline", *common)
print(f"classifier alone: {100 * alone.accuracy:.1f} %")

# %% Another: G and C trained together, with its curves and samples
joint = trigan.run("strategy=joint", *common)
print(f"with a GAN: {100 * joint.accuracy:.1f} %")
print(joint.history().groupby("stage").images.max())
joint.figure("samples").save("samples.png")

# %% One run of each says little. The verdict repeats strong baselines, GAN strategies and controls over several draws.
if not any(text.startswith("debug") for text in settings):
    verdict = trigan.verdict(*common, minutes=60)
    print(verdict.text)
