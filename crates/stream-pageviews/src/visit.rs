//! A session as messages: the pageviews in their order, then the star rating if there is one.

use std::ops::Range;

use datagen_core::model::session::Session;
use datagen_core::text::TextBuf;

/// The two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `pageviews`.
    Pageviews,
    /// `stars`.
    Stars,
}

impl Topic {
    /// Both, in the order of their use as an index.
    pub const ALL: [Topic; 2] = [Topic::Pageviews, Topic::Stars];

    /// The topic's (the hub's) name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pageviews => "pageviews",
            Self::Stars => "stars",
        }
    }
}

/// The messages of one session. Recycled: filling it again keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    key: TextBuf,
    payloads: TextBuf,
    messages: Vec<(Topic, Range<usize>)>,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The stream it belongs to.
    pub topic: Topic,
    /// The user id in decimal digits: messages of a user stay in their order.
    pub key: &'a [u8],
    /// One JSON object.
    pub payload: &'a [u8],
}

impl Visit {
    /// Takes the messages of `session` in place of those it had.
    pub fn fill(&mut self, session: &Session) {
        self.key.clear();
        self.payloads.clear();
        self.messages.clear();
        self.key.append(20, |key| key.push_number(session.user_id));
        for pageview in session.pageviews() {
            let start = self.payloads.len();
            session.write_pageview_json(&pageview, &mut self.payloads);
            self.messages.push((Topic::Pageviews, start..self.payloads.len()));
        }
        let start = self.payloads.len();
        if session.write_stars_json(&mut self.payloads) {
            self.messages.push((Topic::Stars, start..self.payloads.len()));
        }
    }

    /// The messages, in their order.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let (key, payloads) = (self.key.as_bytes(), self.payloads.as_bytes());
        self.messages.iter().map(move |(topic, range)| Message {
            topic: *topic,
            key,
            payload: &payloads[range.clone()],
        })
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many messages of `topic` there are.
    pub fn count(&self, topic: Topic) -> u64 {
        self.messages.iter().filter(|(of, _)| *of == topic).count() as u64
    }

    /// Whether there are none: before the first fill.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of all payloads.
    pub fn bytes(&self) -> u64 {
        self.payloads.len() as u64
    }
}
