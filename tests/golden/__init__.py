"""What every config that ships means and makes: identities of all, and manifests of those that the tests run."""
