//! What every feed shares: provider contract, registry, lifecycle, supervision and status.
