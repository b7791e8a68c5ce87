"""The texts of an SVG figure."""

import xml.etree.ElementTree as ET


def words_in_order(svg: str) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def words(svg: str) -> set[str]:
    return set(words_in_order(svg))
