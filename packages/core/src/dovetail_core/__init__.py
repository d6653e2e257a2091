"""What two Dovetail packages must share as one object at run time. No models, no migrations, Django alone."""
