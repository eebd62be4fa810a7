//! One connection, from PRELOGIN until it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::engine::{EngineSession, Outcome};
use super::fault::{Action, Point};
use super::login::{parse_login, parse_prelogin, prelogin_answer};
use super::sql::{Statement, parse};
use super::wire::{
    self, ColumnType, Done, Layout, Packet, PacketReader, PacketType, ProtocolError, ReadError, ServerError,
    TdsValue, violation,
};
use super::{Bulk, TdsState};

/// The packet size before LOGIN7 negotiates a different one.
const FIRST_PACKET_SIZE: usize = 4096;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// How a step of a session ends.
enum Exit {
    Over,
    /// The connection is cut in the way a network or a dying process cuts it: TLS is not closed first.
    Cut,
    Violation(ProtocolError),
}

impl From<ProtocolError> for Exit {
    fn from(error: ProtocolError) -> Self {
        Self::Violation(error)
    }
}

impl From<ReadError> for Exit {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Over,
            ReadError::Violation(error) => Self::Violation(error),
        }
    }
}

impl From<std::io::Error> for Exit {
    fn from(_: std::io::Error) -> Self {
        Self::Over
    }
}

/// Serves a connection until it ends. An error is a violation of the protocol by the client.
pub(super) async fn serve(shared: &TdsState, tcp: TcpStream) -> Result<(), ProtocolError> {
    let _ = tcp.set_nodelay(true);
    match connection(shared, tcp).await {
        Ok(()) | Err(Exit::Over | Exit::Cut) => Ok(()),
        Err(Exit::Violation(error)) => Err(error),
    }
}

/// Waits forever, or until the client closes the connection; used for [`Action::Stall`].
async fn stall<S: AsyncRead + Unpin>(stream: &mut S) -> Exit {
    let mut sink = tokio::io::sink();
    let _ = tokio::io::copy(stream, &mut sink).await;
    Exit::Over
}

async fn connection(shared: &TdsState, mut tcp: TcpStream) -> Result<(), Exit> {
    match shared.fault(Point::Accept, "") {
        None => {}
        Some(Action::Delay(time)) => tokio::time::sleep(time).await,
        Some(Action::Stall) => return Err(stall(&mut tcp).await),
        Some(_) => return Ok(()),
    }
    let (kind, body) = message(&mut tcp, FIRST_PACKET_SIZE).await?;
    if kind != PacketType::PreLogin {
        return Err(ProtocolError(format!("the first message is a {kind:?}")).into());
    }
    let prelogin = parse_prelogin(&body)?;
    // MS-TDS 2.2.6.5: what the client sends (0 off, 1 on, 2 not supported, 3 required), and what a server that requires
    // encryption, or one that does not support it, answers.
    let (answer, encrypted) = match (&shared.identity, prelogin.encryption) {
        (Some(_), 1 | 3) => (1, true),
        (Some(_), _) => (3, true),
        (None, _) => (2, false),
    };
    let answer_body = prelogin_answer(answer, prelogin.fed_auth);
    wire::write_message(
        &mut tcp,
        PacketType::TabularResult,
        FIRST_PACKET_SIZE,
        &answer_body,
    )
    .await?;
    let stream: Box<dyn Duplex> = match &shared.identity {
        Some(identity) if encrypted => Box::new(identity.accept(tcp).await?),
        _ => Box::new(tcp),
    };
    let mut conversation = Conversation {
        shared,
        stream: BufReader::with_capacity(64 * 1024, stream),
        packet_size: FIRST_PACKET_SIZE,
        session: EngineSession::new(Arc::clone(&shared.engine)),
    };
    let ended = conversation.run(prelogin.fed_auth).await;
    // This happens before the client can see the end of the connection.
    conversation.session.end(false);
    if !matches!(ended, Err(Exit::Cut)) {
        let _ = conversation.stream.shutdown().await;
    }
    ended
}

/// Reads a whole message.
async fn message<S: AsyncRead + Unpin>(
    stream: &mut S,
    limit: usize,
) -> Result<(PacketType, Vec<u8>), ReadError> {
    let Packet {
        kind,
        mut last,
        mut body,
    } = wire::read_packet(stream, limit).await?;
    while !last {
        let next = wire::read_packet(stream, limit).await?;
        if next.kind != kind {
            return Err(ProtocolError(format!("a {:?} packet within a {kind:?} message", next.kind)).into());
        }
        last = next.last;
        body.extend_from_slice(&next.body);
    }
    Ok((kind, body))
}

/// Whether the answer to a statement is a DONE of a batch or one within a procedure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Batch,
    Procedure,
}

/// The decision of the plan of faults about a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Go,
    /// Carry out the request, then cut the connection.
    GoThenDrop,
    Refuse(ServerError),
}

struct Conversation<'a> {
    shared: &'a TdsState,
    stream: BufReader<Box<dyn Duplex>>,
    packet_size: usize,
    session: EngineSession,
}

impl Conversation<'_> {
    async fn run(&mut self, fed_auth: bool) -> Result<(), Exit> {
        self.log_in(fed_auth).await?;
        loop {
            let (kind, body) = message(&mut self.stream, self.packet_size).await?;
            match kind {
                PacketType::SqlBatch => {
                    let mut reader = PacketReader::new(&body);
                    self.check_descriptor(wire::all_headers(&mut reader)?)?;
                    let text = wire::utf16(&body[reader.position()..])?;
                    self.session.variables.clear();
                    self.request(&text, Frame::Batch).await?;
                }
                PacketType::Rpc => {
                    let text = self.parse_rpc(&body)?;
                    self.request(&text, Frame::Procedure).await?;
                }
                PacketType::Attention => {
                    let mut out = Vec::new();
                    wire::put_done(&mut out, Done::Batch, false, false, None);
                    out[1] |= 0x20;
                    self.answer(&out).await?;
                }
                other => return Err(ProtocolError(format!("a {other:?} message after the login")).into()),
            }
        }
    }

    async fn answer(&mut self, body: &[u8]) -> Result<(), Exit> {
        if !self.shared.options.latency.is_zero() {
            tokio::time::sleep(self.shared.options.latency).await;
        }
        wire::write_message(
            &mut self.stream,
            PacketType::TabularResult,
            self.packet_size,
            body,
        )
        .await?;
        Ok(())
    }

    async fn answer_error(&mut self, error: &ServerError) -> Result<(), Exit> {
        let mut out = Vec::new();
        wire::put_error(&mut out, error);
        wire::put_done(&mut out, Done::Batch, false, true, None);
        self.answer(&out).await
    }

    fn check_descriptor(&self, sent: u64) -> Result<(), ProtocolError> {
        let expected = self.session.transaction().unwrap_or(0);
        if sent == expected {
            return Ok(());
        }
        violation(format!("transaction descriptor {sent:x} instead of {expected:x}"))
    }

    async fn log_in(&mut self, fed_auth: bool) -> Result<(), Exit> {
        let (kind, body) = message(&mut self.stream, FIRST_PACKET_SIZE).await?;
        if kind != PacketType::Login7 {
            return Err(ProtocolError(format!("a {kind:?} message instead of LOGIN7")).into());
        }
        let login = parse_login(&body, fed_auth)?;
        let refused = {
            let options = &self.shared.options;
            let known = match &login.token {
                Some(token) => options.token.as_ref() == Some(token),
                None => login.user == options.user && login.password == options.password,
            };
            if !known {
                let user = match login.token {
                    Some(_) => "<token-identified principal>",
                    None => &login.user,
                };
                Some((18456, format!("Login failed for user '{user}'.")))
            } else if !login.database.eq_ignore_ascii_case(&options.database) {
                let problem = format!(
                    "Cannot open database \"{}\" requested by the login. The login failed.",
                    login.database
                );
                Some((4060, problem))
            } else {
                None
            }
        };
        if let Some((number, problem)) = refused {
            self.answer_error(&ServerError::new(number, problem)).await?;
            return Err(Exit::Over);
        }
        let mut out = Vec::new();
        match self.shared.fault(Point::Login, "") {
            None => {}
            Some(Action::Delay(time)) => tokio::time::sleep(time).await,
            Some(Action::Stall) => return Err(stall(&mut self.stream).await),
            Some(Action::DropBefore | Action::DropAfter) => return Err(Exit::Cut),
            Some(Action::Error(error)) => {
                self.answer_error(&error).await?;
                return Err(Exit::Over);
            }
            Some(Action::Route(host, port)) => {
                wire::put_login_ack(&mut out);
                wire::put_env_routing(&mut out, &host, port);
                wire::put_done(&mut out, Done::Batch, false, false, None);
                self.answer(&out).await?;
                return Err(Exit::Over);
            }
        }
        let asked = if login.packet_size == 0 {
            FIRST_PACKET_SIZE
        } else {
            login.packet_size as usize
        };
        let size = asked.clamp(512, self.shared.options.packet_size);
        wire::put_env_text(&mut out, 1, &login.database, "master");
        wire::put_env_collation(&mut out);
        wire::put_login_ack(&mut out);
        if size != FIRST_PACKET_SIZE {
            wire::put_env_text(&mut out, 4, &size.to_string(), &FIRST_PACKET_SIZE.to_string());
        }
        if login.token.is_some() {
            wire::put_fed_auth_ack(&mut out);
        }
        wire::put_done(&mut out, Done::Batch, false, false, None);
        self.answer(&out).await?;
        self.packet_size = size;
        tracing::debug!(user = login.user, server = login.server, "login");
        Ok(())
    }

    /// Parses a call of `sp_executesql` (MS-TDS 2.2.6.6). Returns its statement; its parameters become variables.
    fn parse_rpc(&mut self, body: &[u8]) -> Result<String, ProtocolError> {
        let mut reader = PacketReader::new(body);
        self.check_descriptor(wire::all_headers(&mut reader)?)?;
        let name_length = reader.u16()?;
        let procedure = if name_length == 0xFFFF {
            reader.u16()?
        } else {
            match reader.utf16(usize::from(name_length))?.as_str() {
                "sp_executesql" => 10,
                other => return violation(format!("procedure {other} instead of sp_executesql")),
            }
        };
        if procedure != 10 {
            return violation(format!("procedure {procedure} instead of sp_executesql (10)"));
        }
        reader.take(2)?;
        let mut parameters = Vec::new();
        while !reader.is_empty() {
            let name = reader.b_varchar()?.to_lowercase();
            reader.u8()?;
            let (kind, layout) = wire::read_type(&mut reader)?;
            parameters.push((name, wire::read_value(&mut reader, kind, layout)?));
        }
        self.session.variables.clear();
        let mut parameters = parameters.into_iter();
        let Some((_, TdsValue::Text(text))) = parameters.next() else {
            return violation("sp_executesql without a statement");
        };
        let Some((_, TdsValue::Text(declared))) = parameters.next() else {
            return violation("sp_executesql without a declaration of its parameters");
        };
        let declared: Vec<String> = declared
            .split(',')
            .filter_map(|part| part.split_whitespace().next().map(str::to_lowercase))
            .collect();
        for (name, value) in parameters {
            if !declared.contains(&name) {
                return violation(format!("parameter {name} is not declared"));
            }
            self.session.variables.insert(name, value);
        }
        Ok(text)
    }

    /// Carries out a batch, and injects the faults that the plan has for it.
    async fn request(&mut self, text: &str, frame: Frame) -> Result<(), Exit> {
        self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);
        let statements = match parse(text) {
            Ok(statements) => statements,
            Err(error) => {
                tracing::debug!(text, "not understood");
                return self.refuse(&error).await;
            }
        };
        let any = |is: fn(&Statement) -> bool| statements.iter().any(is);
        let point = if any(|statement| *statement == Statement::Commit) {
            Point::Commit
        } else if any(|statement| matches!(statement, Statement::InsertBulk { .. })) {
            Point::BulkStart
        } else {
            Point::Batch
        };
        let verdict = self.before(point, text).await?;
        if let Verdict::Refuse(error) = &verdict {
            return self.refuse(error).await;
        }
        let (out, bulk) = self.statements(statements, frame).await;
        if verdict == Verdict::GoThenDrop {
            return Err(Exit::Cut);
        }
        self.answer(&out).await?;
        match bulk {
            Some((table, columns)) => self.bulk_load(&table, &columns).await,
            None => Ok(()),
        }
    }

    /// Injects the plan's fault for this point, if any.
    async fn before(&mut self, point: Point, text: &str) -> Result<Verdict, Exit> {
        match self.shared.fault(point, text) {
            None | Some(Action::Route(..)) => Ok(Verdict::Go),
            Some(Action::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(Verdict::Go)
            }
            Some(Action::Stall) => Err(stall(&mut self.stream).await),
            Some(Action::DropBefore) => Err(Exit::Cut),
            Some(Action::DropAfter) => Ok(Verdict::GoThenDrop),
            Some(Action::Error(error)) => Ok(Verdict::Refuse(error)),
        }
    }

    /// Answers with an error, rolls back where SQL Server would, and ends the session after an error with a severity of
    /// 20 and above.
    async fn refuse(&mut self, error: &ServerError) -> Result<(), Exit> {
        let open = self.session.transaction();
        if error.number == 1205 || error.class >= 20 || self.session.xact_abort {
            self.session.end(false);
        }
        let mut out = Vec::new();
        self.put_error(&mut out, error, open);
        wire::put_done(&mut out, Done::Batch, false, true, None);
        self.answer(&out).await?;
        if error.class >= 20 {
            return Err(Exit::Over);
        }
        Ok(())
    }

    /// Writes the error of a statement. `open` is the transaction that was open before the statement.
    fn put_error(&self, out: &mut Vec<u8>, error: &ServerError, open: Option<u64>) {
        wire::put_error(out, error);
        if let (Some(lost), None) = (open, self.session.transaction()) {
            wire::put_env_end(out, false, lost);
        }
    }

    /// Executes statements until one fails. Returns the answer, and the table and the columns for which rows may
    /// follow.
    async fn statements(
        &mut self,
        statements: Vec<Statement>,
        frame: Frame,
    ) -> (Vec<u8>, Option<(String, Vec<(String, ColumnType)>)>) {
        let mut out = Vec::new();
        let mut bulk = None;
        let done = match frame {
            Frame::Procedure => Done::InProc,
            Frame::Batch => Done::Batch,
        };
        let mut left = statements.len();
        for statement in statements {
            left -= 1;
            let more = left > 0 || frame == Frame::Procedure;
            let open = self.session.transaction();
            let outcome = match self.session.execute(statement).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.put_error(&mut out, &error, open);
                    wire::put_done(&mut out, done, frame == Frame::Procedure, true, None);
                    bulk = None;
                    break;
                }
            };
            let mut count = None;
            match outcome {
                Outcome::Nothing => {}
                Outcome::Began(transaction) => wire::put_env_begin(&mut out, transaction),
                Outcome::Committed(transaction) => wire::put_env_end(&mut out, true, transaction),
                Outcome::RolledBack(transaction) => wire::put_env_end(&mut out, false, transaction),
                Outcome::Affected(rows) => count = self.shared.options.counts.then_some(rows),
                Outcome::Rows(columns, rows) => {
                    wire::put_col_metadata(&mut out, &columns);
                    rows.iter().for_each(|row| wire::put_row(&mut out, &columns, row));
                    count = Some(rows.len() as u64);
                }
                Outcome::Bulk(table, columns) => bulk = Some((table, columns)),
            }
            wire::put_done(&mut out, done, more, false, count);
        }
        if frame == Frame::Procedure {
            wire::put_return_status(&mut out, 0);
            wire::put_done(&mut out, Done::Proc, false, false, None);
        } else if out.is_empty() {
            wire::put_done(&mut out, Done::Batch, false, false, None);
        }
        (out, bulk)
    }

    /// Receives the rows that follow an `INSERT BULK`.
    async fn bulk_load(&mut self, table: &str, columns: &[(String, ColumnType)]) -> Result<(), Exit> {
        let mut body = Vec::new();
        let mut refused = None;
        let verdict = loop {
            let packet = wire::read_packet(&mut self.stream, self.packet_size).await?;
            if packet.kind != PacketType::BulkLoad {
                return Err(ProtocolError(format!("a {:?} message where rows are due", packet.kind)).into());
            }
            body.extend_from_slice(&packet.body);
            let point = if packet.last {
                Point::BulkEnd
            } else {
                Point::BulkPacket
            };
            match self.before(point, "").await? {
                Verdict::GoThenDrop if !packet.last => return Err(Exit::Cut),
                Verdict::Refuse(error) => refused = refused.or(Some(error)),
                verdict if packet.last => break verdict,
                _ => {}
            }
            if packet.last {
                break Verdict::Go;
            }
        };
        // A server reads a whole load before it answers with the reason for refusing it.
        if let Some(error) = refused {
            return self.refuse(&error).await;
        }
        let open = self.session.transaction();
        let layout = match self.session.columns(table) {
            Ok(layout) => layout,
            Err(error) => return self.refuse(&error).await,
        };
        let rows = decode_rows(&body, columns, &layout)?;
        let count = rows.len() as u64;
        let stored = match self.shared.options.bulk {
            Bulk::Store => self.session.bulk(table, &rows).await,
            Bulk::Count => Ok(()),
        };
        let mut out = Vec::new();
        match &stored {
            Ok(()) => {
                self.shared.counters.bulks.fetch_add(1, Ordering::Relaxed);
                let count = self.shared.options.counts.then_some(count);
                wire::put_done(&mut out, Done::Batch, false, false, count);
            }
            Err(error) => {
                self.put_error(&mut out, error, open);
                wire::put_done(&mut out, Done::Batch, false, true, None);
            }
        }
        if verdict == Verdict::GoThenDrop {
            return Err(Exit::Cut);
        }
        self.answer(&out).await
    }
}

/// Decodes the rows of a bulk load (MS-TDS 2.2.6.2) into the columns of the table.
fn decode_rows(
    body: &[u8],
    announced: &[(String, ColumnType)],
    table: &[wire::Column],
) -> Result<Vec<Box<[TdsValue]>>, ProtocolError> {
    let mut reader = PacketReader::new(body);
    if reader.u8()? != 0x81 {
        return violation("a bulk load does not begin with COLMETADATA");
    }
    let count = usize::from(reader.u16()?);
    if count != announced.len() {
        return violation(format!(
            "{count} columns of rows, INSERT BULK announced {}",
            announced.len()
        ));
    }
    let mut columns: Vec<(usize, ColumnType, Layout)> = Vec::with_capacity(count);
    for (name, kind) in announced {
        reader.u32()?;
        reader.u16()?;
        let (sent, layout) = wire::read_type(&mut reader)?;
        let sent_name = reader.b_varchar()?;
        if sent != *kind || !sent_name.eq_ignore_ascii_case(name) {
            return violation(format!(
                "column {sent_name} {} where INSERT BULK announced {name} {}",
                sent.sql_name(),
                kind.sql_name()
            ));
        }
        let Some(index) = table
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(name))
        else {
            return violation(format!("column {name} is not in the table"));
        };
        columns.push((index, sent, layout));
    }
    let mut rows = Vec::new();
    loop {
        match reader.u8()? {
            0xD1 => {
                let mut row = vec![TdsValue::Null; table.len()].into_boxed_slice();
                for (index, kind, layout) in &columns {
                    row[*index] = wire::read_value(&mut reader, *kind, *layout)?;
                }
                rows.push(row);
            }
            0xFD => {
                reader.take(12)?;
                if !reader.is_empty() {
                    return violation("bytes after the DONE of a bulk load");
                }
                return Ok(rows);
            }
            other => return violation(format!("token 0x{other:02x} among the rows of a bulk load")),
        }
    }
}
