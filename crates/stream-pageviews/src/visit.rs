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

    /// All its messages.
    pub fn whole(&self) -> Batch<'_> {
        self.batch(&self.messages)
    }

    /// Its messages one by one, in their order.
    pub fn one_by_one(&self) -> impl Iterator<Item = Batch<'_>> {
        self.messages.chunks(1).map(|message| self.batch(message))
    }

    fn batch<'a>(&'a self, messages: &'a [(Topic, Range<usize>)]) -> Batch<'a> {
        Batch {
            key: self.key.as_bytes(),
            payloads: self.payloads.as_bytes(),
            messages,
        }
    }

    /// Bytes of all payloads.
    pub fn bytes(&self) -> u64 {
        self.payloads.len() as u64
    }
}

/// Messages of one visit that are sent together.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    key: &'a [u8],
    payloads: &'a [u8],
    messages: &'a [(Topic, Range<usize>)],
}

impl<'a> Batch<'a> {
    /// How many messages there are.
    pub fn len(self) -> u64 {
        self.messages.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.messages.is_empty()
    }

    /// The messages, in their order.
    pub fn messages(self) -> impl Iterator<Item = Message<'a>> {
        self.messages.iter().map(move |(topic, range)| Message {
            topic: *topic,
            key: self.key,
            payload: &self.payloads[range.clone()],
        })
    }
}
