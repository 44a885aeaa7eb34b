"""Commands beside `binsr`: measuring this machine, and keeping the README up to date."""
