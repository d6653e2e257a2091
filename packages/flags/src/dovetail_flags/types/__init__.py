"""The values that all other folders share: details, contexts, declarations and the types of flags."""
