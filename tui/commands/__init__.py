"""One module a group of verbs, loaded when the verb is used."""
