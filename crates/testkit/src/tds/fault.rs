//! Fault injection: what goes wrong, where, and how often.

use std::time::Duration;

use super::wire::ServerError;

/// The points of a conversation at which a fault can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The connection was accepted, nothing was read.
    Accept,
    /// LOGIN7 was read, and the login is valid.
    Login,
    /// A batch or a procedure call was read that is neither an `INSERT BULK` nor a COMMIT.
    Batch,
    /// `INSERT BULK` was read.
    BulkStart,
    /// A packet with rows of a bulk load was read, except for the last packet.
    BulkPacket,
    /// The last packet of a bulk load was read.
    BulkEnd,
    /// A COMMIT was read.
    Commit,
}

/// A situation in which a fault may be injected.
#[derive(Debug)]
pub struct FaultContext<'a> {
    pub point: Point,
    /// The SQL text, if there is one.
    pub sql: &'a str,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The request is not carried out, and this error is the answer. A severity of 20 and above ends the connection;
    /// error 1205 and (with XACT_ABORT) every error rolls back the transaction.
    Error(ServerError),
    /// The connection is cut and the request is not carried out.
    DropBefore,
    /// The request is carried out, and the connection is cut instead of sending an answer.
    DropAfter,
    /// The request is not carried out, and there is no response.
    Stall,
    /// The response is delayed.
    Delay(Duration),
    /// Only at [`Point::Login`]: the client is redirected to this server.
    Route(String, u16),
}

impl Action {
    pub fn error(number: u32) -> Self {
        Self::Error(ServerError::new(
            number,
            format!("Fault {number} of the test server."),
        ))
    }
}

/// Decides for each [`FaultContext`] whether a fault is injected.
pub type Faults = Box<dyn FnMut(&FaultContext<'_>) -> Option<Action> + Send + Sync>;

pub fn none() -> Faults {
    Box::new(|_| None)
}

/// Injects `action` once, when `point` is reached for the `nth` time (counted from 1).
pub fn nth(point: Point, nth: u64, action: Action) -> Faults {
    let mut seen = 0;
    Box::new(move |event| {
        seen += u64::from(event.point == point);
        (event.point == point && seen == nth).then(|| action.clone())
    })
}

/// Injects `action` whenever `point` is reached.
pub fn always(point: Point, action: Action) -> Faults {
    Box::new(move |event| (event.point == point).then(|| action.clone()))
}

/// Injects `action` for every batch whose text contains `text`.
pub fn on_sql(text: &'static str, action: Action) -> Faults {
    Box::new(move |event| event.sql.contains(text).then(|| action.clone()))
}

/// Makes one request in `one_in` fail in a random transient way. For the same sequence of events, the same `seed`
/// results in the same choices.
pub fn random(seed: u64, one_in: u64) -> Faults {
    let mut state = seed;
    let mut next = move || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    const NUMBERS: [u32; 10] = [1205, 1222, 40197, 40501, 40613, 49918, 10928, 10929, 10053, 64];
    Box::new(move |_| {
        if next() % one_in != 0 {
            return None;
        }
        Some(match next() % 4 {
            0 => Action::DropBefore,
            1 => Action::DropAfter,
            2 => Action::Delay(Duration::from_millis(next() % 30)),
            _ => Action::error(NUMBERS[(next() % 10) as usize]),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(point: Point) -> FaultContext<'static> {
        FaultContext { point, sql: "" }
    }

    #[test]
    fn nth_happens_once() {
        let mut faults = nth(Point::Commit, 2, Action::Stall);
        let points = [Point::Commit, Point::Batch, Point::Commit, Point::Commit];
        let happened: Vec<bool> = points
            .into_iter()
            .map(|point| faults(&event(point)).is_some())
            .collect();
        assert_eq!(happened, [false, false, true, false]);
    }

    #[test]
    fn random_faults_come_at_about_their_rate_and_repeat_with_the_seed() {
        let draw = |seed| {
            let mut faults = random(seed, 10);
            (0..10_000)
                .map(|_| faults(&event(Point::Batch)))
                .collect::<Vec<_>>()
        };
        let first = draw(1);
        let count = first.iter().filter(|action| action.is_some()).count();
        assert!((800..1200).contains(&count), "{count} of 10000");
        assert_eq!(first, draw(1));
        assert_ne!(first, draw(2));
    }
}
