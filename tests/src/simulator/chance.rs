//! Chance from a seed: xoshiro256++, filled by splitmix64, the same on every machine for ever.

/// A stream of chance. Streams forked by label do not disturb each other.
#[derive(Clone, Debug)]
pub struct Chance([u64; 4]);

impl Chance {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| splitmix(&mut state)))
    }

    /// A stream of its own for one part of the world.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let [a, b, c, d] = self.0;
        let mixed = label.bytes().fold(a ^ b.rotate_left(17) ^ c ^ d, |mix, byte| {
            (mix ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(mixed)
    }

    /// Sixty-four bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let out = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        out
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of the entries, each as likely as its weight says.
    pub fn weighted<T: Copy>(&mut self, table: &[(u64, T)]) -> T {
        let mut left = self.below(table.iter().map(|(weight, _)| weight).sum());
        for (weight, value) in table {
            if left < *weight {
                return *value;
            }
            left -= weight;
        }
        table[table.len() - 1].1
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_and_forks_are_apart() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        let draw = |chance: &mut Chance| (0..8).map(|_| chance.bits()).collect::<Vec<_>>();
        assert_eq!(draw(&mut one), draw(&mut two));
        let (mut disk, mut clients) = (one.fork("disk"), one.fork("clients"));
        assert_ne!(draw(&mut disk), draw(&mut clients));
        assert_eq!(draw(&mut one), draw(&mut two), "a fork takes nothing from its stream");
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_all_of_them() {
        let mut chance = Chance::new(1);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[chance.index(5)] += 1;
            assert!((3..=9).contains(&chance.within(3, 9)));
            assert_eq!(chance.weighted(&[(0, 'a'), (3, 'b'), (0, 'c')]), 'b');
        }
        assert!(seen.iter().all(|count| *count > 120), "{seen:?}");
    }
}
