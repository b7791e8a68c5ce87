"""Synthetic model cards: teachers, and students of sweeps with their training curves, the same for a seed."""

import random

from kdbench.results.cards import Epoch, ModelCard, Training
from kdbench.results.preprocessing import Preprocessing

SEEDS = (0, 1)  # of a student
_STUDENTS_OF_A_TEACHER = 24
_EPOCHS = 12


def synthetic_cards(models: int, rng: random.Random, *, several_seeds: bool) -> list[ModelCard]:
    """Return `models` cards, one teacher for every 24 students; a student has two seeds if `several_seeds`."""
    cards: list[ModelCard] = []
    seeds = SEEDS if several_seeds else (0,)
    student = 0
    while len(cards) < models:
        if student % _STUDENTS_OF_A_TEACHER == 0:
            teacher = f"teacher-{student // _STUDENTS_OF_A_TEACHER}"
            cards.append(_card(teacher, teacher, None, 0, rng))
        name = f"student-{student}"
        cards += [
            _card(f"{name}-seed{seed}" if several_seeds else name, name, teacher, seed, rng, student)
            for seed in seeds[: models - len(cards)]
        ]
        student += 1
    return cards


def _card(id_: str, name: str, teacher: str | None, seed: int, rng: random.Random, place: int = 0) -> ModelCard:
    distilled = teacher is not None and place % 4 != 0
    curve = tuple(
        Epoch(
            epoch=epoch,
            train_loss=3 / epoch,
            train_top1=1 - 0.5 / epoch,
            validation_loss=3 / epoch + rng.random() / 10,
            validation_top1=0.95 - 0.4 / epoch,
            learning_rate=0.01,
            seconds=0.1,
        )
        for epoch in range(1, _EPOCHS + 1)
    )
    temperature = float(1 + place % 8)
    return ModelCard(
        id=id_,
        name=name,
        role="teacher" if teacher is None else "student",
        parents=() if teacher is None else (teacher,),
        teachers=(teacher,) if teacher is not None and distilled else (),
        architecture="convnet",
        options={"widths": [16 + place % 5, 32]},
        family=None if teacher is None else f"sweep-{place // 8}",
        axes={} if teacher is None else {"method.temperature": temperature},
        weights=f"checkpoints/{id_}/weights.safetensors",
        seed=seed,
        file=f"models/{id_}.onnx",
        sha256=f"{rng.getrandbits(256):064x}",
        input_shape=(1, 8, 8),
        classes=10,
        parameters=10_000 + place,
        opset=20,
        preprocessing=Preprocessing(mean=(0.3,), std=(0.4,)),
        training=Training(
            objective=f"0.5·CE + 0.5·KL(T = {temperature:g})" if distilled else "CE",
            epochs=_EPOCHS,
            best_epoch=9,
            kept_epoch=9,
            seconds=10 * rng.random(),
            precision="32",
            device="cpu",
            threads=2,
            seed=seed,
            unmetered="RAPL: no counters",
            teacher="live" if distilled else None,
            curve=curve,
        ),
    )
