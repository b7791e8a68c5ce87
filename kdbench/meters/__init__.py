"""Energy meters, one file each: counters, power sensors and a labelled estimate, behind the protocol `meter.Meter`.

The first look-up of a meter imports every file of this folder. Measuring processes import it, so a file may import the
standard library, `machine.system_files` and `machine.nvidia`, and its meter's own library inside functions. `worker`,
`measure` and `cli` import it.
"""
