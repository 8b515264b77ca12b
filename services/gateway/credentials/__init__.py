"""Who may call: keys, tokens and certificates, read from files that may change."""
