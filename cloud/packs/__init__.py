"""Model packs: published as a TUF repository, and served."""
