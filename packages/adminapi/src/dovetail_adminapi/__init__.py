"""An admin API that refuses each operation for which no permission is declared."""
