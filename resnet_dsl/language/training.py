"""The `train` section: a recipe from the library, values of one's own, or both.

No setting has a default here. The neutral values stand in the library, in `recipes/base.yaml`; `None` in this file says
only that a section leaves a setting to what it builds on. The text below each setting is its row in docs/language.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from resnet_dsl.language.fields import Model

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(gt=0)]

UNSAID: Any = None
"""The section says nothing of this; never what a setting is. Where a setting may be `null`, its type says so."""


class Data(Model):
    """What is learned from."""

    data: Literal["digits", "cifar10", "cifar100", "folder", "shards", "fake"] = UNSAID
    """the images: scikit-learn's digits, CIFAR, a folder of images by class (or a .tar of one), WebDataset shards, or
    random ones, for benchmarks"""
    path: str | None = UNSAID
    """where they lie: a folder, an archive, or the pattern of the shards' names"""
    download: bool = UNSAID
    """fetch CIFAR where `path` does not have it"""
    validation: Count = UNSAID
    """training images held out, on which the best epoch is chosen and a plateau is seen; 0: the test images serve"""
    memory: bool = UNSAID
    """all images are held on the device and augmented in batches, or they are read and augmented one by one"""
    resize: Positive | None = UNSAID
    """pixels of a test image's shorter side, of which the centre is cropped; null: images have the input's size"""
    train_size: Positive | None = UNSAID
    """pixels of the height and width of training images, where they are not the input's"""
    workers: Count | None = UNSAID
    """processes that read images; null: one for each core"""
    normalise: Literal["channel", "pixel", "none"] = UNSAID
    """subtract the mean and divide by the deviation of each channel, subtract the mean image, or neither"""
    mean: list[float] | None = UNSAID
    """of each channel, black being 0 and white 1; null: measured on the training images"""
    std: list[Ratio] | None = UNSAID
    """of each channel, likewise"""


class Augmentation(Model):
    """How training images are varied."""

    pad: Count = UNSAID
    """pixels: an image is padded by so many on each side, and cropped at random; 0: it is not"""
    pad_mode: Literal["black", "reflect"] = UNSAID
    """what it is padded with"""
    flip: Literal["none", "random", "alternate"] = UNSAID
    """mirror half of the images, drawn each time, or drawn once and then every other epoch"""
    cutout: Count = UNSAID
    """pixels of the side of a square that is blanked; 0: none is"""
    crop: Literal["none", "scale", "area"] = UNSAID
    """crop at a random scale, or a random share of the area at a random aspect ratio"""
    scale_range: Annotated[list[Positive], Field(min_length=2, max_length=2)] = UNSAID
    """pixels of the shorter side that `crop: scale` draws"""
    area_range: Annotated[list[Ratio], Field(min_length=2, max_length=2)] = UNSAID
    """shares of the area that `crop: area` draws"""
    ratio_range: Annotated[list[Ratio], Field(min_length=2, max_length=2)] = UNSAID
    """width to height that `crop: area` draws"""
    colour_pca: Amount = UNSAID
    """deviation of the shifts along the colours' principal components (Krizhevsky et al. 2012); 0: none"""
    auto_augment: Literal["none", "trivial", "rand"] = UNSAID
    """TrivialAugment (Müller & Hutter 2021), or RandAugment (Cubuk et al. 2020)"""
    rand_ops: Positive = UNSAID
    """RandAugment's operations for each image"""
    rand_magnitude: Annotated[float, Field(ge=0, le=10)] = UNSAID
    """RandAugment's magnitude, 0 to 10"""
    rand_std: Amount = UNSAID
    """deviation of that magnitude from operation to operation"""
    erasing: Share = UNSAID
    """probability that a random rectangle is erased (Zhong et al. 2020)"""
    mixup: Amount = UNSAID
    """α of mixup (Zhang et al. 2018): two images and their labels are blended; 0: none are"""
    cutmix: Amount = UNSAID
    """α of CutMix (Yun et al. 2019): a rectangle comes from another image; 0: none does. With mixup, each batch draws
    one of the two"""
    repeats: Positive = UNSAID
    """times that an epoch has an image, each time varied anew (Hoffer et al. 2020), and so of fewer images"""


class Learning(Model):
    """How the network learns."""

    batch_size: Positive = UNSAID
    """images a step, over all processes and micro-batches"""
    accumulate: Positive = UNSAID
    """micro-batches that a step is divided into, for less memory"""
    epochs: Positive | None = UNSAID
    """length of the training; the unit of `milestones` and `warmup` as well"""
    iterations: Positive | None = UNSAID
    """length in steps, in place of `epochs`"""
    optimiser: Literal["sgd", "adamw", "lamb"] = UNSAID
    """SGD with momentum, AdamW (Loshchilov & Hutter 2019) or LAMB (You et al. 2020)"""
    lr: Ratio = UNSAID
    """the learning rate"""
    lr_batch: Positive | None = UNSAID
    """the batch that `lr` is meant for, which is scaled in proportion (Goyal et al. 2017); null: `batch_size`"""
    momentum: Rate = UNSAID
    """of SGD; the first beta of AdamW and LAMB"""
    beta2: Rate = UNSAID
    """the second beta of AdamW and LAMB"""
    nesterov: bool = UNSAID
    """Nesterov's form of SGD's momentum"""
    weight_decay: Amount = UNSAID
    """pull of the weights towards zero; in proportion to the learning rate"""
    decay_norms: bool = UNSAID
    """weight decay for normalisations and biases too"""
    clip: Amount = UNSAID
    """largest norm of the gradient, which is scaled down to it; 0: as it is"""
    loss: Literal["cross_entropy", "bce"] = UNSAID
    """cross-entropy, or binary cross-entropy of each class by itself"""
    label_smoothing: Rate = UNSAID
    """share of a label that is spread over all classes (Szegedy et al. 2016)"""
    schedule: Literal["cosine", "linear", "milestones", "plateau", "constant"] = UNSAID
    """of the learning rate: to zero along half a cosine or a line, by `gamma` at each milestone, by `gamma` where the
    error no longer falls, or not at all"""
    milestones: list[Positive] = UNSAID
    """epochs (or iterations) at which the rate is multiplied by `gamma`"""
    gamma: Annotated[float, Field(gt=0, le=1)] = UNSAID
    """what it is multiplied by"""
    patience: Count = UNSAID
    """epochs without a lower error that make a plateau"""
    warmup: Count = UNSAID
    """epochs (or iterations) in which the rate rises along a line, from `warmup_lr` to `lr`"""
    warmup_lr: Amount = UNSAID
    """the learning rate that a warm-up begins at"""
    warmup_error: Annotated[float, Field(gt=0, lt=100)] | None = UNSAID
    """percent: the rate is `warmup_lr` until the training error is below it, then `lr` (He et al. 2015, section 4.2)"""
    ema: Rate = UNSAID
    """decay of a moving average of the weights, which is tested and saved in their place; 0: none"""
    ema_every: Positive = UNSAID
    """steps from one update of the average to the next"""
    freeze: list[str] = UNSAID
    """stages (or `stem`, `head`) whose weights stay as they are"""
    loss_limit: Ratio = UNSAID
    """a loss above this stops the training, as one does that is no number"""
    drop_path: Rate = UNSAID
    """stochastic depth with this rate in the last block, for a spec that has no `drop_path` of its own; 0: none"""


class Machine(Model):
    """Where and how it runs."""

    seed: Count = UNSAID
    """of everything that is drawn: order, augmentation, dropout; the weights begin from it too"""
    threads: Positive | None = UNSAID
    """of torch on a CPU; null: torch chooses"""
    precision: Literal["fp32", "bf16", "auto"] = UNSAID
    """of activations; `auto` is bf16 where the processor has it"""
    compile: Literal["never", "cuda", "always"] = UNSAID
    """torch.compile: on GPUs, or everywhere"""
    parallel: Literal["ddp", "fsdp"] = UNSAID
    """among processes, each has the whole network, or a share of its parameters"""
    sync_batchnorm: bool = UNSAID
    """batch normalisation over the batches of all processes"""
    recompute: list[str] = UNSAID
    """stages whose activations are computed again in the backward pass, for less memory"""
    save_minutes: Ratio = UNSAID
    """minutes after which a checkpoint is written in the middle of an epoch"""


class Testing(Model):
    """How it is tested."""

    test_flip: bool = UNSAID
    """scores are averaged over an image and its mirror"""


class Training(Testing, Machine, Learning, Augmentation, Data):
    """What is written here wins over the recipe, and a recipe over the one that it builds on; `base` is below all."""

    doc: str = ""
    recipe: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, value: object) -> object:
        return {"recipe": value} if isinstance(value, str) else value

    def said(self) -> dict[str, object]:
        """The settings that stand here, `null` among them."""
        return {name: getattr(self, name) for name in SETTINGS if name in self.model_fields_set}


GROUPS: tuple[type[Model], ...] = (Data, Augmentation, Learning, Machine, Testing)
SETTINGS = tuple(name for group in GROUPS for name in group.model_fields)
"""Every setting, in the order of the groups."""
