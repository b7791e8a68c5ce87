"""A powercap folder of our own."""

MAX_UJ = 262_143_328_850  # a common range: 2^32 units of 61 µJ
JOULE = 1_000_000


class Powercap:
    """A powercap folder that zones are added to; `add` returns the zone's counter file."""

    def __init__(self, root):
        self.root = root

    def add(self, folder, name, energy_uj=0, max_uj=MAX_UJ):
        zone = self.root / folder
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(f"{energy_uj}\n")
        (zone / "max_energy_range_uj").write_text(f"{max_uj}\n")
        return zone / "energy_uj"


def growing(*counters, by=JOULE):
    """Return a pause in which these counters grow."""

    def pause(_seconds):
        for counter in counters:
            counter.write_text(str(int(counter.read_text()) + by))

    return pause
