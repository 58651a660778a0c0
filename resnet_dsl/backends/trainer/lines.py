"""The lines of train.py that settings decide, formatted as `ruff format` would at 100 columns."""

from __future__ import annotations

from typing import assert_never

from resnet_dsl.backends.layout import (
    INDENT,
    LINE_LENGTH,
    Atom,
    Call,
    Group,
    Line,
    statement,
    suite,
)
from resnet_dsl.backends.trainer.settings import TrainSettings


def out_folder(settings: TrainSettings) -> str:
    return f"runs/{settings.name}"


def recipe(settings: TrainSettings) -> str:
    """The recipe in a sentence."""
    match settings.optimiser:
        case "sgd" if not settings.momentum:
            optimiser = "SGD"
        case "sgd":
            kind = "Nesterov's momentum" if settings.nesterov else "momentum"
            optimiser = f"SGD with {kind}"
        case "adamw":
            optimiser = "AdamW"
        case _:
            assert_never(settings.optimiser)
    rates = {"cosine": "a cosine", "milestones": "steps at milestones", "constant": "one rate"}
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    text = f"{epochs} of {optimiser}, {rates[settings.schedule]}"
    return f"{text} after a warm-up." if settings.warmup_epochs else f"{text}."


def constants(settings: TrainSettings) -> list[str]:
    """The flat block of settings: each that the script reads, and no other."""
    lines = [
        "# What is trained, and on what.",
        f"NETWORK = {_text(settings.name)}",
        f"SPEC = {_text(settings.spec)}",
        f"SPEC_HASH = {_text(settings.spec_hash)}",
        f"DATA = {_text(settings.data)}",
        f"CLASSES = {settings.classes}",
        f"SHAPE = {settings.input}  # channels, height, width",
    ]
    if settings.normalisation is not None:
        mean, std = settings.normalisation
        lines += [*_sequence("MEAN", mean), *_sequence("STD", std)]
    lines += ["", "# How: times in epochs, shifts in pixels."]
    lines += [f"EPOCHS = {settings.epochs}", f"BATCH_SIZE = {settings.batch_size}"]
    lines += [
        f"LR = {settings.lr}",
        *_momentum(settings),
        f"WEIGHT_DECAY = {settings.weight_decay}",
    ]
    if settings.warmup_epochs:
        lines.append(f"WARMUP_EPOCHS = {settings.warmup_epochs}")
    if settings.schedule == "milestones":
        lines += [*_sequence("MILESTONES", settings.milestones), f"GAMMA = {settings.gamma}"]
    lines.append(f"LABEL_SMOOTHING = {settings.label_smoothing}")
    if settings.shift:
        lines.append(f"SHIFT = {settings.shift}")
    lines.append(f"SEED = {settings.seed}")
    if settings.threads is not None:
        lines.append(f"THREADS = {settings.threads}")
    return [*lines, f"OUT = {_text(out_folder(settings))}"]


def _momentum(settings: TrainSettings) -> list[str]:
    match settings.optimiser:
        case "sgd":
            return [f"MOMENTUM = {settings.momentum}", f"NESTEROV = {settings.nesterov}"]
        case "adamw":
            return [f"BETAS = ({settings.momentum}, 0.999)"]
        case _:
            assert_never(settings.optimiser)


def schedule(settings: TrainSettings) -> list[str]:
    """The function `learning_rate(epoch, epochs)`."""
    warm = "a straight line up, then " if settings.warmup_epochs else ""
    match settings.schedule:
        case "cosine":
            doc = "down half a cosine to zero"
            start = " - WARMUP_EPOCHS" if settings.warmup_epochs else ""
            part = f"(epoch{start}) / (epochs{start})" if start else "epoch / epochs"
            body = [f"return 0.5 * LR * (1 + math.cos(math.pi * {part}))"]
        case "milestones":
            doc = "lower at milestones"
            body = ["return LR * GAMMA ** sum(epoch >= milestone for milestone in MILESTONES)"]
        case "constant":
            doc, body = "always the same", ["return LR"]
        case _:
            assert_never(settings.schedule)
    if settings.warmup_epochs:
        body = ["if epoch < WARMUP_EPOCHS:", "    return LR * epoch / WARMUP_EPOCHS", *body]
    return [
        "def learning_rate(epoch: float, epochs: int) -> float:",
        f'    """The rate at a place among the epochs: {warm}{doc}."""',
        *(f"    {line}" for line in body),
    ]


def optimizer(settings: TrainSettings) -> list[str]:
    """The statement that makes `optimizer`, with what it needs before it, indented as in main."""
    match settings.optimiser:
        case "sgd":
            made, options = "SGD", ["momentum=MOMENTUM", "nesterov=NESTEROV"]
        case "adamw":
            made, options = "AdamW", ["betas=BETAS"]
        case _:
            assert_never(settings.optimiser)
    grouped = [
        "# Weight decay is for weights; normalisations and biases go without.",
        "decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]",
        "others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]",
        'groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]',
    ]
    before, over = ([], "model.parameters()") if settings.decay_norms else (grouped, "groups")
    arguments = [over, "lr=LR", *options, "weight_decay=WEIGHT_DECAY"]
    call = Call(f"torch.optim.{made}", tuple(map(Atom, arguments)))
    return suite(
        [*(Line(Atom(text)) for text in before), Line(call, "optimizer = ")], indent=INDENT
    )


def shifted(settings: TrainSettings) -> list[str]:
    """The function that draws shifted images; nothing where images are not shifted."""
    if not settings.shift:
        return []
    return [
        "def shifted(images: Tensor, chosen: Tensor, offsets: Tensor) -> Tensor:",
        '    """Of the images (N, C, H + 2 SHIFT, W + 2 SHIFT) the chosen ones (B,), cut at offsets',
        '    (B, 2) to (B, C, H, W)."""',
        "    _, height, width = SHAPE",
        "    rows = offsets[:, 0, None] + torch.arange(height, device=images.device)",
        "    columns = offsets[:, 1, None] + torch.arange(width, device=images.device)",
        "    pixels = images.permute(0, 2, 3, 1)",
        "    cut = pixels[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]",
        "    return cut.permute(0, 3, 1, 2)",
        "",
        "",
    ]


def standardise(settings: TrainSettings) -> list[str]:
    """Images of mean 0 and deviation 1 in each channel; those for training are padded with black."""
    if settings.normalisation is None:
        lines = [
            "mean = images.mean((0, 2, 3), keepdim=True)",
            "std = images.std((0, 2, 3), keepdim=True)",
        ]
    else:
        lines = [
            "mean = torch.tensor(MEAN, device=device).view(1, -1, 1, 1)",
            "std = torch.tensor(STD, device=device).view(1, -1, 1, 1)",
        ]
    if settings.shift:
        lines.append("images = functional.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))")
    return [
        *lines,
        "images = ((images - mean) / std).contiguous(memory_format=torch.channels_last)",
        "test_images = (test_images - mean) / std",
        "test_images = test_images.contiguous(memory_format=torch.channels_last)",
    ]


def draws(settings: TrainSettings) -> list[str]:
    """What is drawn for an epoch beside its order."""
    if not settings.shift:
        return []
    return [
        "offsets = torch.randint(2 * SHIFT + 1, (len(images), 2), generator=draws).to(device)",
    ]


def forward(settings: TrainSettings) -> list[str]:
    """From `chosen` to `loss`."""
    drawn = "shifted(images, chosen, offsets[chosen])" if settings.shift else "images[chosen]"
    criterion = "functional.cross_entropy(scores, labels[chosen], label_smoothing=LABEL_SMOOTHING)"
    if not settings.bf16:
        return [f"scores = model({drawn})", f"loss = {criterion}"]
    return [
        f"with {autocast('device.type')}:",
        f"    scores = model({drawn}).float()",
        f"loss = {criterion}",
    ]


def inference(settings: TrainSettings) -> str:
    """The context in which the test runs."""
    if not settings.bf16:
        return "torch.inference_mode()"
    return f"torch.inference_mode(), {autocast('images.device.type')}"


def autocast(device: str) -> str:
    return f"torch.autocast({device}, torch.bfloat16)"


def repeated(settings: TrainSettings) -> list[str]:
    """What the command for the next step has of the one that made the script: overrides, and the folder."""
    found = [f'command += ["--set", {_text(override)}]' for override in settings.overrides]
    if settings.folder is not None:
        found.append(f'command += ["--out", {_text(settings.folder)}]')
    return [
        line if len(line) <= LINE_LENGTH - INDENT else f"{line}  # noqa: E501" for line in found
    ]


def _sequence(name: str, items: tuple[float, ...]) -> list[str]:
    """A tuple under a name."""
    return statement(f"{name} = ", Group("(", tuple(Atom(str(item)) for item in items)))


def _text(value: str) -> str:
    """A string as ruff writes it: in double quotes, unless single ones save escapes."""
    quote = "'" if value.count('"') > value.count("'") else '"'
    inner = value.encode("unicode_escape").decode().replace(quote, f"\\{quote}")
    return f"{quote}{inner}{quote}"
