"""How other projects name the tensors of the same networks: one set of rules a project, one rule a line.

A rule rewrites every name in which its pattern is found, one rule after the other, into one of its targets: the one
that the network expects. `<\\1-1>` in a target is arithmetic on a group (`res2` is our `layer1`). A set is tried as a
whole, and taken only if every name then fits. `reshape` lets a weight be read as a layer of the same arithmetic but
another rank: a linear layer is a convolution over the whole of its input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_ARITHMETIC = re.compile(r"<(\d+)([+-])(\d+)>")


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` becomes one of `targets`; `title` is how reports call it."""

    title: str
    pattern: re.Pattern[str]
    targets: tuple[str, ...]
    reshape: bool = False

    def rewrite(self, name: str) -> tuple[str, ...]:
        """What the name may become; nothing where the pattern is not in it."""
        if not self.pattern.search(name):
            return ()
        return tuple(self.pattern.sub(_expander(target), name) for target in self.targets)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The names of one project. Tensors that match `unused` belong to something around the network; `note` is what a
    user of these weights must know besides."""

    project: str
    source: str
    rules: tuple[Rule, ...]
    unused: re.Pattern[str] | None = None
    note: str = ""


def _expander(target: str) -> Callable[[re.Match[str]], str]:
    return lambda match: _ARITHMETIC.sub(_compute, match.expand(target))


def _compute(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[3])
    return str(first + second if match[2] == "+" else first - second)


def _rule(title: str, pattern: str, *targets: str, reshape: bool = False) -> Rule:
    return Rule(title, re.compile(pattern), targets, reshape)


_SHORTCUT = (r".downsample.\1.", r".shortcut.\1.", r".downsample.", r".shortcut.")
_PROJECTION = (".downsample.0.", ".downsample.1.", ".downsample.", ".shortcut.0.", ".shortcut.")
_PROJECTION_NORM = (".downsample.1.", ".downsample.2.", ".shortcut.1.")
_LAST_NORM = ("bn.", "bn1.", "bn2.", "norm.", "head.0.", "head.bn.", "head.norm.")
_BLOCK_NORM = (r".bn\1.", r".norm\1.", r".gn\1.")

RULE_SETS: tuple[RuleSet, ...] = (
    RuleSet(
        "other names of the classifier",
        "fine-tuning scripts put a Sequential or a layer of another name where `fc` was",
        (
            _rule("last_linear → fc", r"^last_linear\.", "fc."),
            _rule("classifier → fc", r"^classifier\.(?:\d\.)?(?=weight|bias)", "fc."),
            _rule("head → fc", r"^head\.(?:fc\.|\d\.)?(?=weight|bias)", "fc."),
            _rule("fc.N → fc", r"^fc\.(?:\d|fc|linear)\.", "fc."),
            _rule("fc as a 1×1 convolution", r"^fc\.weight$", "fc.weight", reshape=True),
        ),
    ),
    RuleSet(
        "kuangliu/pytorch-cifar and akamaster/pytorch_resnet_cifar10",
        "https://github.com/kuangliu/pytorch-cifar/blob/master/models/resnet.py, preact_resnet.py; "
        "https://github.com/akamaster/pytorch_resnet_cifar10/blob/master/resnet.py",
        (
            _rule("linear → fc", r"^linear\.", "fc."),
            _rule("shortcut → downsample", r"\.shortcut\.(\d)\.", *_SHORTCUT),
            _rule("last norm", r"^bn1?\.", "bn1.", *_LAST_NORM),
        ),
    ),
    RuleSet(
        "xternalz/WideResNet-pytorch",
        "https://github.com/xternalz/WideResNet-pytorch/blob/master/wideresnet.py",
        (
            _rule("block.layer → layer", r"^block(\d)\.layer\.", r"layer\1."),
            _rule("convShortcut → downsample", r"\.convShortcut\.", *_PROJECTION),
            _rule("last norm", r"^bn1\.", *_LAST_NORM),
        ),
    ),
    RuleSet(
        "weiaicunzai/pytorch-cifar100",
        "https://github.com/weiaicunzai/pytorch-cifar100/blob/master/models/resnet.py",
        (
            _rule("conv1.1 → bn1", r"^conv1\.1\.", "bn1."),
            _rule("conv1.0 → conv1", r"^conv1\.0\.", "conv1."),
            _rule("convN_x → layer", r"^conv(\d)_x\.", r"layer<\1-1>."),
            _rule("residual_function.0 → conv1", r"\.residual_function\.0\.", ".conv1."),
            _rule("residual_function.1 → bn1", r"\.residual_function\.1\.", ".bn1."),
            _rule("residual_function.3 → conv2", r"\.residual_function\.3\.", ".conv2."),
            _rule("residual_function.4 → bn2", r"\.residual_function\.4\.", ".bn2."),
            _rule("residual_function.6 → conv3", r"\.residual_function\.6\.", ".conv3."),
            _rule("residual_function.7 → bn3", r"\.residual_function\.7\.", ".bn3."),
            _rule("shortcut → downsample", r"\.shortcut\.(\d)\.", *_SHORTCUT),
        ),
    ),
    RuleSet(
        "timm, resnetv2",
        "https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnetv2.py",
        (
            _rule("stem.conv → conv1", r"^stem\.conv\.", "conv1."),
            _rule("stem.norm → bn1", r"^stem\.norm\.", "bn1.", "norm1."),
            _rule("stem.conv1 → conv1.0", r"^stem\.conv1\.", "conv1.0."),
            _rule("stem.norm1 → conv1.1", r"^stem\.norm1\.", "conv1.1."),
            _rule("stem.conv2 → conv1.3", r"^stem\.conv2\.", "conv1.3."),
            _rule("stem.norm2 → conv1.4", r"^stem\.norm2\.", "conv1.4."),
            _rule("stem.conv3 → conv1.6", r"^stem\.conv3\.", "conv1.6."),
            _rule("stem.norm3 → bn1", r"^stem\.norm3\.", "bn1.", "norm1."),
            _rule("stages.blocks → layer", r"^stages\.(\d)\.blocks\.", r"layer<\1+1>."),
            _rule("downsample.conv → downsample", r"\.downsample\.conv\.", *_PROJECTION),
            _rule("downsample.norm → downsample", r"\.downsample\.norm\.", *_PROJECTION_NORM),
            _rule("norm → bn", r"\.norm(\d)\.", *_BLOCK_NORM),
            _rule("last norm", r"^norm\.", *_LAST_NORM),
            _rule("head.fc → fc", r"^head\.fc\.", "fc.", reshape=True),
        ),
        note="timm's *_bit networks standardise each filter as they run; if these weights are of one, outputs differ",
    ),
    RuleSet(
        "timm, VGG",
        "https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/vgg.py",
        (
            _rule(
                "pre_logits.fc1 → classifier.0",
                r"^pre_logits\.fc1\.",
                "classifier.0.",
                reshape=True,
            ),
            _rule(
                "pre_logits.fc2 → classifier.3",
                r"^pre_logits\.fc2\.",
                "classifier.3.",
                reshape=True,
            ),
            _rule("head.fc → classifier.6", r"^head\.fc\.", "classifier.6.", reshape=True),
        ),
    ),
    RuleSet(
        "mmpretrain",
        "https://github.com/open-mmlab/mmpretrain/blob/main/mmpretrain/models/backbones/resnet.py",
        (
            _rule("backbone. dropped", r"^backbone\.", ""),
            _rule("head.fc → fc", r"^head\.fc\.", "fc."),
        ),
        re.compile(r"^data_preprocessor\."),
    ),
    RuleSet(
        "torchvision, detection and segmentation",
        "https://github.com/pytorch/vision/blob/main/torchvision/models/detection/backbone_utils.py",
        (_rule("backbone.body. dropped", r"^backbone\.(?:body\.)?", ""),),
        re.compile(r"^(backbone\.fpn|rpn|roi_heads|head|classifier|aux_classifier)\."),
    ),
    RuleSet(
        "detectron2",
        "https://github.com/facebookresearch/detectron2/blob/main/detectron2/modeling/backbone/resnet.py",
        (
            _rule("backbone. dropped", r"^backbone\.(?:bottom_up\.)?", ""),
            _rule("stem.conv1.norm → bn1", r"^stem\.conv1\.norm\.", "bn1."),
            _rule("stem.conv1 → conv1", r"^stem\.conv1\.", "conv1."),
            _rule("res → layer", r"^res(\d)\.", r"layer<\1-1>."),
            _rule("conv.norm → bn", r"\.conv(\d)\.norm\.", *_BLOCK_NORM),
            _rule("shortcut.norm → downsample.1", r"\.shortcut\.norm\.", *_PROJECTION_NORM),
            _rule("shortcut → downsample.0", r"\.shortcut\.(?=weight|bias)", *_PROJECTION),
            _rule("linear → fc", r"^(?:linear|stem\.fc)\.", "fc."),
        ),
        re.compile(
            r"^(proposal_generator|roi_heads|sem_seg_head|head|pixel_mean|pixel_std|backbone\.fpn_)"
        ),
        note="detectron2's networks take BGR images, most with mean (103.53, 116.28, 123.675) and deviation 1",
    ),
    RuleSet(
        "Hugging Face transformers",
        "https://github.com/huggingface/transformers/blob/main/src/transformers/models/resnet/modeling_resnet.py",
        (
            _rule("resnet. dropped", r"^resnet\.", ""),
            _rule("embedder → conv1", r"^embedder\.embedder\.convolution\.", "conv1."),
            _rule("embedder → bn1", r"^embedder\.embedder\.normalization\.", "bn1."),
            _rule("encoder.stages → layer", r"^encoder\.stages\.(\d)\.layers\.", r"layer<\1+1>."),
            _rule("layer.convolution → conv", r"\.layer\.(\d)\.convolution\.", r".conv<\1+1>."),
            _rule("layer.normalization → bn", r"\.layer\.(\d)\.normalization\.", r".bn<\1+1>."),
            _rule("shortcut → downsample.0", r"\.shortcut\.convolution\.", *_PROJECTION),
            _rule("shortcut → downsample.1", r"\.shortcut\.normalization\.", *_PROJECTION_NORM),
            _rule("classifier → fc", r"^classifier\.1\.", "fc."),
        ),
    ),
    RuleSet(
        "pycls",
        "https://github.com/facebookresearch/pycls/blob/main/pycls/models/resnet.py",
        (
            _rule("stem.conv → conv1", r"^stem\.conv\.", "conv1."),
            _rule("stem.bn → bn1", r"^stem\.bn\.", "bn1."),
            _rule("s.b → layer", r"^s(\d+)\.b(\d+)\.", r"layer\1.<\2-1>."),
            _rule("f.a → conv1", r"\.f\.a\.", ".conv1."),
            _rule("f.b → conv2", r"\.f\.b\.", ".conv2."),
            _rule("f.c → conv3", r"\.f\.c\.", ".conv3."),
            _rule("f.a_bn → bn1", r"\.f\.a_bn\.", ".bn1."),
            _rule("f.b_bn → bn2", r"\.f\.b_bn\.", ".bn2."),
            _rule("f.c_bn → bn3", r"\.f\.c_bn\.", ".bn3."),
            _rule("proj → downsample.0", r"\.proj\.", *_PROJECTION),
            _rule(
                "bn → downsample.1",
                r"^(layer\d+\.\d+)\.bn\.",
                *(rf"\1{end}" for end in _PROJECTION_NORM),
            ),
            _rule("head.fc → fc", r"^head\.fc\.", "fc."),
        ),
        note="pycls trains on BGR images",
    ),
    RuleSet(
        "Cadene/pretrained-models.pytorch and moskomule/senet.pytorch",
        "https://github.com/Cadene/pretrained-models.pytorch/blob/master/pretrainedmodels/models/senet.py; "
        "https://github.com/moskomule/senet.pytorch/blob/master/senet/se_module.py",
        (
            _rule("layer0 dropped", r"^layer0\.", ""),
            _rule("last_linear → fc", r"^last_linear\.", "fc."),
            _rule("se_module → se", r"\.se_module\.fc(\d)\.", r".se.fc\1.", reshape=True),
            _rule("se.fc.0 → se.fc1", r"\.se\.fc\.0\.", ".se.fc1.", reshape=True),
            _rule("se.fc.2 → se.fc2", r"\.se\.fc\.2\.", ".se.fc2.", reshape=True),
        ),
    ),
)
