"""What users ask for: each workflow composes the stages. Nothing but the command line and the tests imports it."""
