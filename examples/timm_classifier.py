"""Any network of timm as the classifier, beside trigan's own; needs `pip install 'trigan[timm]'`.

python examples/timm_classifier.py [settings]
"""

import importlib.util
import sys

import trigan

CHOICES = {
    "small CNN": ["classifier=small_cnn"],
    "ResNet-10t of timm": ["classifier=timm", "classifier.name=resnet10t"],
}

if __name__ == "__main__":
    if importlib.util.find_spec("timm") is None:
        sys.exit("this example needs timm: pip install 'trigan[timm]'")
    for name, choice in CHOICES.items():
        run = trigan.run("data.image_size=32", "logger=none", *choice, *sys.argv[1:])
        images = trigan.data("digits", image_size=32).images[:8]
        print(f"{name}: {100 * run.accuracy:.1f} %; first labels {run.classify(images).argmax(1).tolist()}")
