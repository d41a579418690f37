"""The product's values against the oracle's, and expectations under the null by exact enumeration."""
