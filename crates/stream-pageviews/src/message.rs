//! A message of the stream, as the schedule makes it and a sink sends it.

use datagen_core::model::planted::SessionEffects;
use datagen_core::model::session::{Event, EventId, StreamTag};

/// The two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `pageviews`.
    Pageviews,
    /// `stars`.
    Stars,
}

impl Topic {
    /// Both topics, in the order in which they are used as an index.
    pub const ALL: [Topic; 2] = [Topic::Pageviews, Topic::Stars];

    /// Returns the name of the topic (of the event hub).
    pub fn name(self) -> &'static str {
        match self {
            Self::Pageviews => "pageviews",
            Self::Stars => "stars",
        }
    }
}

/// Why a message is sent at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sending {
    /// At its event time.
    InTime,
    /// For the first time, minutes after its event time.
    Late,
    /// Once more, some seconds after the first time.
    Duplicate,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The topic it is sent to.
    pub topic: Topic,
    /// Why it is sent now.
    pub sending: Sending,
    /// The user id. Its decimal digits are the message key, so that the messages of each user stay in order.
    pub user_id: u64,
    /// The message body: one JSON object.
    pub payload: &'a [u8],
    /// When the event happened, and in which session.
    pub event: Event,
    /// The tag of the stream.
    pub tag: StreamTag,
    /// The effects that were planted in the message.
    pub effects: SessionEffects,
}

impl Message<'_> {
    /// Returns the ids of the message.
    pub fn id(&self) -> EventId {
        EventId::new(self.tag, self.event.session, self.event.position)
    }

    /// Returns whether the message is the first one of its session.
    pub fn is_start(&self) -> bool {
        self.event.position == 0 && self.sending != Sending::Duplicate
    }
}

/// Messages for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::ops::Range;
    use std::sync::Arc;

    use datagen_core::model::Profile;
    use datagen_core::model::session::{DeliveryFaults, Pause, Sessions, StreamTag};

    use super::Message;
    use crate::batch::Batch;
    use crate::schedule::{LoadSchedule, StreamPlan};

    /// Returns a plan for sessions of ten users and ten products.
    pub(crate) fn plan() -> StreamPlan {
        StreamPlan {
            sessions: Sessions::new(Profile::Uniform, 0, 9, 9),
            faults: DeliveryFaults::new(0, 0, 0),
            pause: Pause {
                mean: 10.0,
                stddev: 5.0,
            },
            sources: 1,
            session_count: None,
            start_ms: 1_795_687_200_000,
            end_ms: None,
            tag: StreamTag::new(&[]),
            event_fields: true,
        }
    }

    /// The first messages of a stream, encoded.
    pub(crate) struct Encoded {
        batch: Batch,
        range: Range<usize>,
    }

    impl Encoded {
        pub(crate) fn messages(&self) -> Vec<Message<'_>> {
            let tag = StreamTag::new(&[]);
            self.range
                .clone()
                .map(|index| self.batch.message(index, tag))
                .collect()
        }
    }

    /// Returns the messages `range` of a stream.
    pub(crate) fn messages(range: Range<usize>) -> Encoded {
        let mut schedule = LoadSchedule::new(Arc::new(plan()), [0].into_iter());
        let mut batch = Batch::default();
        while batch.len() < range.end {
            schedule.fill(&mut batch, range.end, 1_795_687_200_000);
        }
        Encoded { batch, range }
    }
}
