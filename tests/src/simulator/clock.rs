//! Two clocks: the true one, which only moves on, and the wall clock, which people set.

/// The first moment of every world. Unit: unix milliseconds.
const START_MS: u64 = 1_700_000_000_000;

/// Time in a world.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    true_ms: u64,
    skew_ms: i64,
    back_ms: u64,
}

impl Clock {
    /// Milliseconds since the world began; never goes back.
    #[must_use]
    pub fn true_ms(&self) -> u64 {
        self.true_ms
    }

    /// What the process reads. Unit: unix milliseconds.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        (START_MS + self.true_ms).saturating_add_signed(self.skew_ms)
    }

    /// Moves true time on to `true_ms`.
    pub fn advance_to(&mut self, true_ms: u64) {
        self.true_ms = self.true_ms.max(true_ms);
    }

    /// Sets the wall clock forward or back.
    pub fn step(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
        if by_ms < 0 {
            self.back_ms += by_ms.unsigned_abs();
        }
    }

    /// How far the wall clock was ever set back, in all: whoever waits by it waits so much longer.
    #[must_use]
    pub fn set_back_ms(&self) -> u64 {
        self.back_ms
    }

    /// The true moment at which the wall clock shows `wall_ms`, if nobody sets it before.
    #[must_use]
    pub fn true_of_wall(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_add_signed(-self.skew_ms).saturating_sub(START_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_steps_and_true_time_does_not() {
        let mut clock = Clock::default();
        clock.advance_to(5_000);
        let before = clock.wall_ms();
        clock.step(-3_600_000);
        assert_eq!((clock.wall_ms(), clock.true_ms()), (before - 3_600_000, 5_000));
        assert_eq!(clock.true_of_wall(before), 5_000 + 3_600_000);
        clock.step(7_200_000);
        assert_eq!(clock.true_of_wall(before), 0, "a moment that is past counts as now");
        assert_eq!(clock.set_back_ms(), 3_600_000);
        clock.advance_to(1);
        assert_eq!(clock.true_ms(), 5_000);
    }
}
