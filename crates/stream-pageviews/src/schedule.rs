//! Decides which message is sent when: a discrete-event simulation without a clock.
//!
//! Source `s` of CONCURRENT_USERS makes the sessions `s`, `s` + CONCURRENT_USERS, `s` + 2 · CONCURRENT_USERS, …, so
//! that sources need no state: the next session is opened when the previous one begins (or, without pauses, when it
//! ends). For each open session, a heap contains the next message. Late messages and duplicates wait in a second heap;
//! they are generated again when they are due.
//!
//! An open session takes one `Slot` and one `Queued`, a waiting message one `Waiting`. The crate's README derives the
//! memory of a stream from the sizes of these types, which a test pins.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use datagen_core::model::planted::SessionEffect;
use datagen_core::model::session::{
    DeliveryFaults, EventEncoder, OpenSession, Pause, SessionMessage, Sessions, StreamTag,
};

use crate::batch::{Batch, SendKey};
use crate::message::Sending;

/// The parameters that all parts of a stream share.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// The sessions.
    pub sessions: Sessions,
    /// Which messages are late or sent twice.
    pub faults: DeliveryFaults,
    /// The pauses between the starts of sessions of one source. With a mean of 0, a session starts when the previous one
    /// has ended.
    pub pause: Pause,
    /// How many sources there are in all shards.
    pub sources: u64,
    /// Sessions with this or a higher number are not made.
    pub session_count: Option<u64>,
    /// When the stream begins, in milliseconds since 1970.
    pub start_ms: u64,
    /// No event happens at or after this time.
    pub end_ms: Option<u64>,
    /// The stream's tag.
    pub tag: StreamTag,
    /// Whether messages include the fields of their events.
    pub event_fields: bool,
}

impl StreamPlan {
    fn makes(&self, session: u64) -> bool {
        self.session_count.is_none_or(|count| session < count)
    }

    fn encoder(&self) -> EventEncoder {
        EventEncoder::new(self.tag, self.event_fields)
    }
}

/// The messages of some of the sources, in the order of their [`SendKey`]s.
#[derive(Debug)]
pub struct Schedule {
    plan: Arc<StreamPlan>,
    encoder: EventEncoder,
    queue: BinaryHeap<Reverse<Queued>>,
    slots: Vec<Slot>,
    /// Slots that are not in use.
    free: Vec<u32>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    is_closed: bool,
}

/// An open session.
#[derive(Debug)]
struct Slot {
    session: OpenSession,
    start_ms: u64,
}

/// The next message of an open session. The order is that of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    time_ms: u64,
    session: u64,
    position: u8,
    slot: u32,
}

impl Queued {
    fn key(&self) -> SendKey {
        SendKey {
            time_ms: self.time_ms,
            session: self.session,
            position: self.position,
        }
    }
}

/// A late message or a duplicate that is not due yet. The order is that of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    time_ms: u64,
    session: u64,
    position: u8,
    sending: Sending,
    start_ms: u64,
}

impl Waiting {
    fn key(&self) -> SendKey {
        SendKey {
            time_ms: self.time_ms,
            session: self.session,
            position: self.position,
        }
    }
}

impl Schedule {
    /// Creates the schedule of `sources`, which are numbers below [`StreamPlan::sources`].
    pub fn new(plan: Arc<StreamPlan>, sources: impl Iterator<Item = u64>) -> Self {
        let mut schedule = Self {
            encoder: plan.encoder(),
            plan,
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            waiting: BinaryHeap::new(),
            is_closed: false,
        };
        for source in sources {
            schedule.open(source, schedule.plan.start_ms);
        }
        schedule
    }

    /// Returns the key of the next message; `None` after the last.
    pub fn next_key(&self) -> Option<SendKey> {
        let queued = self.queue.peek().map(|Reverse(queued)| queued.key());
        let waiting = self.waiting.peek().map(|Reverse(waiting)| waiting.key());
        match (queued, waiting) {
            (Some(queued), Some(waiting)) => Some(queued.min(waiting)),
            (queued, waiting) => queued.or(waiting),
        }
    }

    /// Returns when the next message is due, in milliseconds since 1970; `None` after the last.
    pub fn next_due_ms(&self) -> Option<u64> {
        let next = self.next_key()?;
        Some(if self.is_closed { 0 } else { next.time_ms })
    }

    /// Returns how many late messages and duplicates are waiting.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Ends all sessions and drops the waiting duplicates. The waiting late messages become due at once.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.queue.clear();
        self.slots.clear();
        self.free.clear();
        self.waiting
            .retain(|Reverse(waiting)| waiting.sending == Sending::Late);
    }

    /// Adds the messages that are due at `now_ms` to `batch` until it is full, and sets its watermark.
    pub fn fill(&mut self, batch: &mut Batch, now_ms: u64) {
        while !batch.is_full() {
            let Some(next) = self.next_key() else { break };
            if !self.is_closed {
                if self.plan.end_ms.is_some_and(|end| next.time_ms >= end) {
                    self.close();
                    continue;
                }
                if next.time_ms > now_ms {
                    break;
                }
            }
            match self.queue.peek() {
                Some(Reverse(queued)) if queued.key() == next => self.take_queued(batch),
                _ => self.take_waiting(batch),
            }
        }
        batch.watermark = self.next_key().unwrap_or(SendKey::LAST);
    }

    /// Opens session `id`, whose source has paused since `after_ms`, unless there is no such session.
    fn open(&mut self, id: u64, after_ms: u64) {
        if self.is_closed || !self.plan.makes(id) {
            return;
        }
        let session = self.plan.sessions.get(id);
        // The pause is at least one millisecond, so that time advances.
        let pause_ms = match self.plan.pause.mean > 0.0 {
            true => (self.plan.pause.before(&session).as_millis() as u64).max(1),
            false => 0,
        };
        let start_ms = after_ms.saturating_add(pause_ms);
        if self.plan.end_ms.is_some_and(|end| start_ms >= end) {
            return;
        }
        let opened = Slot {
            session: OpenSession::start(&session),
            start_ms,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = opened;
                slot
            }
            None => {
                self.slots.push(opened);
                (self.slots.len() - 1) as u32
            }
        };
        // The first pageview happens at the start of the session.
        self.queue.push(Reverse(Queued {
            time_ms: start_ms,
            session: id,
            position: 0,
            slot,
        }));
    }

    /// Makes the next message of the session at the top of the queue.
    fn take_queued(&mut self, batch: &mut Batch) {
        let plan = &*self.plan;
        let Some(mut top) = self.queue.peek_mut() else {
            return;
        };
        let Queued { slot, .. } = top.0;
        let key = top.0.key();
        let Slot { session, start_ms } = &mut self.slots[slot as usize];
        let start_ms = *start_ms;
        if let Some(message) = session.next_message(&plan.sessions) {
            let faults = plan.faults.of(key.session, key.position);
            let mut again = |time_ms: u64, sending| {
                self.waiting.push(Reverse(Waiting {
                    time_ms,
                    session: key.session,
                    position: key.position,
                    sending,
                    start_ms,
                }));
            };
            if let Some(delay) = faults.late_ms {
                again(key.time_ms + delay, Sending::Late);
            } else {
                let effects = session.effects(&message);
                batch.push(
                    (session, &message),
                    key,
                    key.time_ms,
                    Sending::InTime,
                    effects,
                    &mut self.encoder,
                );
                if let Some(delay) = faults.duplicate_ms {
                    again(key.time_ms + delay, Sending::Duplicate);
                }
            }
        }
        let next_offset_ms = session.next_offset_ms(&plan.sessions);
        match next_offset_ms {
            Some(offset) => {
                top.0.time_ms = start_ms + u64::from(offset);
                top.0.position = session.position();
                drop(top);
            }
            None => {
                PeekMut::pop(top);
                self.free.push(slot);
            }
        }
        let Some(next) = key.session.checked_add(plan.sources) else {
            return;
        };
        let is_back_to_back = plan.pause.mean == 0.0;
        if is_back_to_back && next_offset_ms.is_none() {
            self.open(next, key.time_ms + 1);
        } else if !is_back_to_back && key.position == 0 {
            self.open(next, start_ms);
        }
    }

    /// Generates the first waiting message again, which is due now.
    fn take_waiting(&mut self, batch: &mut Batch) {
        let Some(Reverse(waiting)) = self.waiting.pop() else {
            return;
        };
        let plan = &*self.plan;
        let key = waiting.key();
        let mut session = OpenSession::start(&plan.sessions.get(waiting.session));
        while let Some(offset) = session.next_offset_ms(&plan.sessions) {
            let is_wanted = session.position() == waiting.position;
            let Some(message) = session.next_message(&plan.sessions) else {
                break;
            };
            if !is_wanted {
                continue;
            }
            let effects = match waiting.sending {
                Sending::Duplicate => SessionEffect::Duplicate.into(),
                _ => session.effects(&message) | SessionEffect::Late.into(),
            };
            batch.push(
                (&session, &message),
                key,
                waiting.start_ms + u64::from(offset),
                waiting.sending,
                effects,
                &mut self.encoder,
            );
            break;
        }
        if waiting.sending == Sending::Late
            && !self.is_closed
            && let Some(delay) = plan.faults.of(key.session, key.position).duplicate_ms
        {
            self.waiting.push(Reverse(Waiting {
                time_ms: key.time_ms + delay,
                sending: Sending::Duplicate,
                ..waiting
            }));
        }
    }
}

/// The messages of some of the sources for load tests: session after session, as fast as they are taken, without any
/// waiting.
#[derive(Debug)]
pub struct LoadSchedule {
    plan: Arc<StreamPlan>,
    encoder: EventEncoder,
    /// All sources, in the order in which they take turns.
    sources: Vec<u64>,
    turn: usize,
    round: u64,
    current: Option<OpenSession>,
}

impl LoadSchedule {
    /// Creates the schedule of `sources`, which are numbers below [`StreamPlan::sources`].
    pub fn new(plan: Arc<StreamPlan>, sources: impl Iterator<Item = u64>) -> Self {
        Self {
            encoder: plan.encoder(),
            plan,
            sources: sources.collect(),
            turn: 0,
            round: 0,
            current: None,
        }
    }

    /// Adds messages with the event time `now_ms` to `batch`, until it has `most` messages or is full. Without RATE, it
    /// contains whole sessions. Adds nothing after the last message.
    pub fn fill(&mut self, batch: &mut Batch, most: usize, now_ms: u64) {
        if self.plan.end_ms.is_some_and(|end| now_ms >= end) {
            return;
        }
        while batch.len() < most && (self.current.is_some() || !batch.is_full()) {
            if self.current.is_none() {
                self.current = self.next_session();
            }
            let Some(session) = &mut self.current else { return };
            let key = SendKey {
                time_ms: now_ms,
                session: session.id(),
                position: session.position(),
            };
            match session.next_message(&self.plan.sessions) {
                Some(message) => {
                    let effects = session.effects(&message);
                    let made: (&OpenSession, &SessionMessage) = (session, &message);
                    batch.push(made, key, now_ms, Sending::InTime, effects, &mut self.encoder);
                }
                None => self.current = None,
            }
        }
    }

    fn next_session(&mut self) -> Option<OpenSession> {
        if self.turn == self.sources.len() {
            self.turn = 0;
            self.round = self.round.checked_add(1)?;
        }
        let source = self.sources.get(self.turn)?;
        self.turn += 1;
        let id = self.round.checked_mul(self.plan.sources)?.checked_add(*source)?;
        // Sources are in ascending order: after the first session that is not made, no other is made either.
        self.plan
            .makes(id)
            .then(|| OpenSession::start(&self.plan.sessions.get(id)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use datagen_core::model::Profile;
    use datagen_core::model::planted::SessionCounts;

    use super::*;
    use crate::message::testing;

    const HOUR_MS: u64 = 3_600_000;

    /// A message as it was sent.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Sent {
        key: SendKey,
        event_ms: u64,
        sending: Sending,
        payload: String,
    }

    /// Returns a plan with ten sources for an hour.
    fn plan() -> StreamPlan {
        let plan = testing::plan();
        StreamPlan {
            sessions: Sessions::new(Profile::Shop, 7, 999, 99),
            sources: 10,
            end_ms: Some(plan.start_ms + HOUR_MS),
            ..plan
        }
    }

    /// Returns all messages of `sources`, filled in steps of `step_ms`, and the counts of what was planted in them.
    fn all(
        plan: &StreamPlan,
        sources: impl Iterator<Item = u64>,
        step_ms: u64,
    ) -> (Vec<Sent>, SessionCounts) {
        let mut schedule = Schedule::new(Arc::new(plan.clone()), sources);
        let (mut sent, mut counts) = (Vec::new(), SessionCounts::default());
        let mut batch = Batch::default();
        let mut now_ms = plan.start_ms;
        while schedule.next_key().is_some() {
            batch.clear();
            schedule.fill(&mut batch, now_ms);
            for (index, message) in batch.messages(plan.tag).into_iter().enumerate() {
                counts.add(message.effects);
                let key = batch.key(index).unwrap();
                let is_on_time = key.time_ms <= now_ms || plan.end_ms.is_some_and(|end| key.time_ms >= end);
                assert!(is_on_time, "nothing is sent before it is due");
                sent.push(Sent {
                    key,
                    event_ms: message.event.time_ms,
                    sending: message.sending,
                    payload: String::from_utf8(message.payload.to_vec()).unwrap(),
                });
            }
            let last = sent.last().map_or(SendKey::FIRST, |sent| sent.key);
            assert!(
                batch.watermark > last,
                "the watermark is a lower bound of what follows"
            );
            if !batch.is_full() {
                now_ms = now_ms.saturating_add(step_ms);
            }
        }
        (sent, counts)
    }

    fn whole(plan: &StreamPlan) -> Vec<Sent> {
        all(plan, 0..plan.sources, u64::MAX).0
    }

    #[test]
    fn messages_are_in_order_and_say_when_they_happened() {
        let plan = plan();
        let sent = whole(&plan);
        assert!(sent.is_sorted_by(|a, b| a.key < b.key));
        let mut positions = HashMap::new();
        for message in &sent {
            let SendKey {
                session,
                position,
                time_ms,
            } = message.key;
            let next = positions.entry(session).or_insert(0);
            assert_eq!(position, *next, "a session's messages are complete and in order");
            *next += 1;
            assert_eq!((message.event_ms, message.sending), (time_ms, Sending::InTime));
            let json: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
            let time = chrono::DateTime::parse_from_rfc3339(json["event_time"].as_str().unwrap()).unwrap();
            assert_eq!(time.timestamp_millis() as u64, time_ms);
            let id = format!("{}-{session:016x}", plan.tag.text());
            assert_eq!(json["session_id"], id);
            assert_eq!(json["event_id"], format!("{id}-{position:02}"));
        }
        // On average, ten sources begin a session every 10.09 s: 3 568 in an hour, with a standard deviation of 30.
        assert!((3_400..3_740).contains(&positions.len()), "{}", positions.len());
    }

    #[test]
    fn the_messages_do_not_depend_on_when_they_are_made() {
        let plan = StreamPlan {
            faults: DeliveryFaults::new(7, 10, 10),
            ..plan()
        };
        let expected = all(&plan, 0..10, u64::MAX);
        assert!(all(&plan, 0..10, 1_234) == expected);
        assert!(all(&plan, 0..10, HOUR_MS / 2) == expected);
    }

    #[test]
    fn the_sources_of_shards_make_the_same_messages() {
        let plan = plan();
        let (expected, counts) = all(&plan, 0..10, u64::MAX);
        for shards in [2, 3, 10] {
            let (mut merged, mut sum) = (Vec::new(), SessionCounts::default());
            for shard in 0..shards {
                let (sent, counts) = all(&plan, (shard..10).step_by(shards as usize), u64::MAX);
                merged.extend(sent);
                sum += counts;
            }
            merged.sort_by_key(|sent| sent.key);
            assert!(merged == expected, "{shards} shards");
            assert_eq!(sum, counts, "{shards} shards");
        }
    }

    #[test]
    fn the_end_cuts_off_open_sessions_and_nothing_else() {
        let long = whole(&plan());
        for minutes in [0, 1, 30] {
            let end_ms = plan().start_ms + minutes * 60_000;
            let short = whole(&StreamPlan {
                end_ms: Some(end_ms),
                ..plan()
            });
            let expected: Vec<_> = long
                .iter()
                .filter(|sent| sent.key.time_ms < end_ms)
                .cloned()
                .collect();
            assert!(short == expected, "{minutes} minutes");
        }
        let sessions = whole(&StreamPlan {
            session_count: Some(25),
            end_ms: None,
            ..plan()
        });
        let expected: Vec<_> = long
            .iter()
            .filter(|sent| sent.key.session < 25)
            .cloned()
            .collect();
        assert!(sessions == expected, "25 sessions");
    }

    #[test]
    fn late_messages_and_duplicates_are_the_messages_of_the_stream() {
        let plan = plan();
        let (usual, usual_counts) = all(&plan, 0..10, u64::MAX);
        let faulty = StreamPlan {
            faults: DeliveryFaults::new(7, 20, 10),
            ..plan.clone()
        };
        let (sent, counts) = all(&faulty, 0..10, u64::MAX);
        let end_ms = plan.end_ms.unwrap();
        let usual: BTreeMap<_, _> = usual
            .into_iter()
            .map(|sent| (sent.payload, sent.key.time_ms))
            .collect();
        let mut first = HashMap::new();
        let (mut late, mut twice) = (0, 0);
        for message in &sent {
            let event_ms = usual[&message.payload];
            assert_eq!(event_ms, message.event_ms);
            let time_ms = message.key.time_ms;
            match message.sending {
                Sending::Duplicate => {
                    let delay = time_ms - first[&message.payload];
                    assert!((2_000..30_000).contains(&delay) && time_ms < end_ms);
                    twice += 1;
                }
                sending => {
                    assert_eq!(first.insert(message.payload.clone(), time_ms), None);
                    match sending {
                        Sending::Late => {
                            assert!((60_000..600_000).contains(&(time_ms - event_ms)));
                            late += 1;
                        }
                        _ => assert_eq!(time_ms, event_ms),
                    }
                }
            }
        }
        assert_eq!(
            first.len(),
            usual.len(),
            "every message is sent for the first time once"
        );
        assert!(sent.is_sorted_by(|a, b| a.key < b.key));
        assert!(
            sent.iter().any(|sent| sent.key.time_ms >= end_ms),
            "late messages follow after the end"
        );
        // Within five standard deviations; the last duplicates are dropped.
        let share = |count: u64, one_in: f64| {
            let mean = usual.len() as f64 / one_in;
            assert!(
                (count as f64 - mean).abs() < 5.0 * mean.sqrt() + 0.01 * mean,
                "{count} of {mean}"
            );
        };
        share(late, 20.0);
        share(twice, 10.0);
        for effect in SessionEffect::ALL {
            let expected = match effect {
                SessionEffect::Late => late,
                SessionEffect::Duplicate => twice,
                _ => usual_counts.get(effect),
            };
            assert_eq!(counts.get(effect), expected, "{effect:?}");
        }
    }

    #[test]
    fn without_pauses_a_session_begins_when_the_previous_one_has_ended() {
        let plan = StreamPlan {
            pause: Pause {
                mean: 0.0,
                stddev: 5.0,
            },
            sources: 2,
            ..plan()
        };
        let sent = whole(&plan);
        let mut ends = HashMap::from([(0, plan.start_ms - 1), (1, plan.start_ms - 1)]);
        for message in &sent {
            let end = ends.get_mut(&(message.key.session % 2)).unwrap();
            if message.key.position == 0 {
                assert_eq!(message.key.time_ms, *end + 1);
            }
            *end = message.key.time_ms;
        }
        assert!(sent.iter().any(|sent| sent.key.session > 10));
    }

    #[test]
    fn closing_sends_the_late_messages_and_nothing_else() {
        let plan = StreamPlan {
            faults: DeliveryFaults::new(7, 3, 3),
            ..plan()
        };
        let mut schedule = Schedule::new(Arc::new(plan.clone()), 0..10);
        let mut batch = Batch::default();
        let stop_ms = plan.start_ms + 120_000;
        while schedule.next_due_ms().unwrap() <= stop_ms {
            batch.clear();
            schedule.fill(&mut batch, stop_ms);
        }
        let happened = |sent: &&Sent| sent.event_ms <= stop_ms && sent.key.time_ms > stop_ms;
        let expected: Vec<_> = whole(&plan).iter().filter(happened).cloned().collect();
        let expected: Vec<_> = expected
            .iter()
            .filter(|sent| sent.sending == Sending::Late)
            .collect();
        schedule.close();
        batch.clear();
        schedule.fill(&mut batch, stop_ms);
        assert_eq!(schedule.next_key(), None);
        assert!(!batch.is_full() && !batch.is_empty());
        let sent = batch.messages(plan.tag);
        assert_eq!(sent.len(), expected.len());
        for (sent, expected) in sent.iter().zip(expected) {
            assert_eq!(sent.payload, expected.payload.as_bytes());
        }
    }

    #[test]
    fn a_load_test_makes_the_same_sessions_without_waiting() {
        for profile in Profile::ALL {
            let sessions = Sessions::new(profile, 7, 999, 99);
            let plan = Arc::new(StreamPlan {
                sessions: sessions.clone(),
                sources: 3,
                session_count: Some(1_000),
                end_ms: None,
                event_fields: false,
                ..plan()
            });
            let mut lines = Vec::new();
            for worker in 0..2 {
                let mut schedule = LoadSchedule::new(Arc::clone(&plan), (worker..3).step_by(2));
                let mut batch = Batch::default();
                loop {
                    batch.clear();
                    schedule.fill(&mut batch, usize::MAX, 5);
                    if batch.is_empty() {
                        break;
                    }
                    for message in batch.messages(plan.tag) {
                        assert_eq!(message.event.time_ms, 5);
                        lines.push(message.payload.to_vec());
                    }
                }
            }
            let mut expected = Vec::new();
            for id in 0..1_000 {
                let session = sessions.get(id);
                let mut out = datagen_core::text::TextBuf::default();
                for pageview in session.pageviews() {
                    out.clear();
                    session.write_pageview_json(&pageview, &mut out);
                    expected.push(out.as_bytes().to_vec());
                }
                out.clear();
                if session.write_stars_json(&mut out) {
                    expected.push(out.as_bytes().to_vec());
                }
            }
            lines.sort();
            expected.sort();
            assert!(lines == expected, "{profile}");
        }
    }

    /// The README's formula for the memory of a stream follows from these sizes.
    #[test]
    fn what_a_stream_keeps_is_small() {
        assert_eq!(size_of::<Queued>(), 24);
        assert_eq!(size_of::<Waiting>(), 32);
        assert!(size_of::<Slot>() <= 112, "{}", size_of::<Slot>());
    }
}
