//! The bytes of TDS 7.4: packets, the tokens with which a server answers, and the types of columns.
//!
//! The source of every layout here is Microsoft's open specification [MS-TDS], whose section numbers the items name.
//! The parser is strict wherever a client could be wrong; a violation is a [`ProtocolError`], which ends the connection
//! and is kept for the test to inspect.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The size of a packet header in bytes (MS-TDS 2.2.3.1).
pub(super) const HEADER: usize = 8;

/// A message of the client that violates MS-TDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolError(pub String);

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn violation<T>(text: impl Into<String>) -> Result<T, ProtocolError> {
    Err(ProtocolError(text.into()))
}

/// The types of messages (MS-TDS 2.2.3.1.1) that this server supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketType {
    SqlBatch = 0x01,
    Rpc = 0x03,
    TabularResult = 0x04,
    Attention = 0x06,
    BulkLoad = 0x07,
    Login7 = 0x10,
    PreLogin = 0x12,
}

impl PacketType {
    fn from_byte(byte: u8) -> Result<Self, ProtocolError> {
        Ok(match byte {
            0x01 => Self::SqlBatch,
            0x03 => Self::Rpc,
            0x04 => Self::TabularResult,
            0x06 => Self::Attention,
            0x07 => Self::BulkLoad,
            0x10 => Self::Login7,
            0x12 => Self::PreLogin,
            other => return violation(format!("packet type 0x{other:02x} is unknown")),
        })
    }
}

/// One packet as read from the wire.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) kind: PacketType,
    /// Whether this is the last packet of the message.
    pub(super) last: bool,
    pub(super) body: Vec<u8>,
}

/// Why no packet could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The client closed the connection, between packets or within one.
    Closed,
    /// The client broke the protocol.
    Violation(ProtocolError),
}

impl From<ProtocolError> for ReadError {
    fn from(error: ProtocolError) -> Self {
        Self::Violation(error)
    }
}

/// Reads one packet of at most `limit` bytes (the negotiated packet size).
pub(super) async fn read_packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    limit: usize,
) -> Result<Packet, ReadError> {
    let mut header = [0u8; HEADER];
    stream
        .read_exact(&mut header)
        .await
        .map_err(|_| ReadError::Closed)?;
    let kind = PacketType::from_byte(header[0])?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length < HEADER {
        return Err(ProtocolError(format!("packet length {length} is below its header")).into());
    }
    if length > limit {
        return Err(ProtocolError(format!(
            "a packet of {length} bytes is over the negotiated size of {limit}"
        ))
        .into());
    }
    let status = header[1];
    if status & !0x19 != 0 {
        return Err(ProtocolError(format!("packet status 0x{status:02x} has unknown bits")).into());
    }
    let last = status & 0x01 != 0;
    // MS-TDS 2.2.3.1.3: every packet except for the last one of a message has the negotiated size.
    if !last && length != limit {
        return Err(ProtocolError(format!(
            "a packet of {length} bytes in the middle of a message, the negotiated size is {limit}"
        ))
        .into());
    }
    let mut body = vec![0u8; length - HEADER];
    stream
        .read_exact(&mut body)
        .await
        .map_err(|_| ReadError::Closed)?;
    Ok(Packet { kind, last, body })
}

/// Writes `body` as one message of packets of at most `size` bytes.
pub(super) async fn write_message<S: AsyncWrite + Unpin>(
    stream: &mut S,
    kind: PacketType,
    size: usize,
    body: &[u8],
) -> std::io::Result<()> {
    let room = size - HEADER;
    let mut chunks = body.chunks(room).peekable();
    let mut id = 1u8;
    let mut out = Vec::with_capacity(body.len() + HEADER);
    if chunks.peek().is_none() {
        push_packet(&mut out, kind, true, id, &[]);
    }
    while let Some(chunk) = chunks.next() {
        push_packet(&mut out, kind, chunks.peek().is_none(), id, chunk);
        id = id.wrapping_add(1);
    }
    stream.write_all(&out).await?;
    stream.flush().await
}

fn push_packet(out: &mut Vec<u8>, kind: PacketType, last: bool, id: u8, body: &[u8]) {
    let length = u16::try_from(body.len() + HEADER).expect("packets are at most 32767 bytes");
    out.push(kind as u8);
    out.push(u8::from(last));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0, 51, id, 0]);
    out.extend_from_slice(body);
}

/// Reads little-endian fields from a message; a message that is too short is a protocol violation.
#[derive(Debug)]
pub(super) struct PacketReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> PacketReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], ProtocolError> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return violation(format!("the message ends where {n} more bytes were announced"));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        Ok(self.take(N)?.try_into().expect("take returns N bytes"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads a string of `chars` UTF-16 code units.
    pub(super) fn utf16(&mut self, chars: usize) -> Result<String, ProtocolError> {
        utf16(self.take(chars * 2)?)
    }

    /// Reads a B_VARCHAR: one byte with the length in code units, then the text.
    pub(super) fn b_varchar(&mut self) -> Result<String, ProtocolError> {
        let chars = usize::from(self.u8()?);
        self.utf16(chars)
    }
}

/// Decodes UTF-16LE.
pub(super) fn utf16(bytes: &[u8]) -> Result<String, ProtocolError> {
    if !bytes.len().is_multiple_of(2) {
        return violation("a UTF-16 text has an odd number of bytes");
    }
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .collect::<Result<String, _>>()
        .or_else(|_| violation("a text is not UTF-16"))
}

/// Reads ALL_HEADERS (MS-TDS 2.2.5.3) and returns the transaction descriptor that it must carry.
pub(super) fn all_headers(reader: &mut PacketReader<'_>) -> Result<u64, ProtocolError> {
    let start = reader.position();
    let total = reader.u32()? as usize;
    let mut descriptor = None;
    while reader.position() - start < total {
        let length = reader.u32()? as usize;
        let kind = reader.u16()?;
        if kind == 2 {
            if length != 18 {
                return violation(format!("transaction header of {length} bytes instead of 18"));
            }
            descriptor = Some(reader.u64()?);
            let outstanding = reader.u32()?;
            if outstanding != 1 {
                return violation(format!("{outstanding} outstanding requests without MARS"));
            }
        } else {
            let rest = length
                .checked_sub(6)
                .ok_or(ProtocolError("header shorter than itself".into()))?;
            reader.take(rest)?;
        }
    }
    if reader.position() - start != total {
        return violation("ALL_HEADERS is longer than it announced");
    }
    descriptor.ok_or(ProtocolError(
        "a request without the transaction descriptor header".into(),
    ))
}

/// The column types that the server can store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `tinyint` (unsigned), `smallint`, `int`, `bigint` by their width in bytes.
    Int(u8),
    /// `float(53)`.
    Float,
    /// `datetime`: days since 1900-01-01 and 1/300 s.
    DateTime,
    /// `nvarchar(n)`, n in UTF-16 code units.
    NVarChar(u16),
}

impl ColumnType {
    /// Returns the type that T-SQL calls `name`.
    pub(super) fn from_sql_name(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "int" => Self::Int(4),
            "bigint" => Self::Int(8),
            "float" => Self::Float,
            "datetime" => Self::DateTime,
            name => {
                let length = name.strip_prefix("nvarchar(")?.strip_suffix(')')?.parse().ok()?;
                (1..=4000).contains(&length).then_some(Self::NVarChar(length))?
            }
        })
    }

    /// Returns the name of the type in T-SQL.
    pub fn sql_name(&self) -> String {
        match self {
            Self::Int(1) => "tinyint".into(),
            Self::Int(2) => "smallint".into(),
            Self::Int(4) => "int".into(),
            Self::Int(_) => "bigint".into(),
            Self::Float => "float".into(),
            Self::DateTime => "datetime".into(),
            Self::NVarChar(n) => format!("nvarchar({n})"),
        }
    }
}

/// A stored value.
#[derive(Debug, Clone, PartialEq)]
pub enum TdsValue {
    Null,
    Int(i64),
    Float(f64),
    /// `datetime`: days since 1900-01-01, then ticks of 1/300 s since midnight.
    DateTime(i32, u32),
    Text(String),
}

/// Latin1_General_CI_AS as COLLATION bytes (MS-TDS 2.2.5.1.2).
const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];

/// A column of a table, a result or a bulk load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnType,
    pub nullable: bool,
}

/// fNullable and usUpdateable = unknown (MS-TDS 2.2.7.4), as SQL Server reports table columns.
const FLAG_NULLABLE: u16 = 0x0001;
const FLAG_UPDATEABLE_UNKNOWN: u16 = 0x0008;

fn put_type(out: &mut Vec<u8>, column: &Column) {
    // As in SQL Server, a NOT NULL column of a fixed width is reported by its fixed-length type, a nullable one by the
    // variable-length type with a length byte before each value.
    match (column.kind, column.nullable) {
        (ColumnType::Int(1), false) => out.push(0x30),
        (ColumnType::Int(2), false) => out.push(0x34),
        (ColumnType::Int(4), false) => out.push(0x38),
        (ColumnType::Int(_), false) => out.push(0x7F),
        (ColumnType::Float, false) => out.push(0x3E),
        (ColumnType::DateTime, false) => out.push(0x3D),
        (ColumnType::Int(width), true) => out.extend_from_slice(&[0x26, width]),
        (ColumnType::Float, true) => out.extend_from_slice(&[0x6D, 8]),
        (ColumnType::DateTime, true) => out.extend_from_slice(&[0x6F, 8]),
        (ColumnType::NVarChar(chars), _) => {
            out.push(0xE7);
            out.extend_from_slice(&(chars * 2).to_le_bytes());
            out.extend_from_slice(&COLLATION);
        }
    }
}

/// Appends COLMETADATA (MS-TDS 2.2.7.4).
pub(super) fn put_col_metadata(out: &mut Vec<u8>, columns: &[Column]) {
    out.push(0x81);
    out.extend_from_slice(&(columns.len() as u16).to_le_bytes());
    for column in columns {
        out.extend_from_slice(&0u32.to_le_bytes());
        let nullable = if column.nullable { FLAG_NULLABLE } else { 0 };
        out.extend_from_slice(&(FLAG_UPDATEABLE_UNKNOWN | nullable).to_le_bytes());
        put_type(out, column);
        put_b_varchar(out, &column.name);
    }
}

/// Appends a ROW token.
pub(super) fn put_row(out: &mut Vec<u8>, columns: &[Column], values: &[TdsValue]) {
    out.push(0xD1);
    for (column, value) in columns.iter().zip(values) {
        put_value(out, column, value);
    }
}

fn put_value(out: &mut Vec<u8>, column: &Column, value: &TdsValue) {
    let mut fixed = |bytes: &[u8]| {
        if column.nullable {
            out.push(bytes.len() as u8);
        }
        out.extend_from_slice(bytes);
    };
    match (value, column.kind) {
        (TdsValue::Int(n), ColumnType::Int(width)) => fixed(&n.to_le_bytes()[..usize::from(width)]),
        (TdsValue::Float(x), ColumnType::Float) => fixed(&x.to_le_bytes()),
        (TdsValue::DateTime(days, ticks), ColumnType::DateTime) => {
            let mut bytes = [0u8; 8];
            bytes[..4].copy_from_slice(&days.to_le_bytes());
            bytes[4..].copy_from_slice(&ticks.to_le_bytes());
            fixed(&bytes);
        }
        (TdsValue::Text(text), ColumnType::NVarChar(_)) => {
            let units: Vec<u16> = text.encode_utf16().collect();
            out.extend_from_slice(&((units.len() * 2) as u16).to_le_bytes());
            units
                .iter()
                .for_each(|unit| out.extend_from_slice(&unit.to_le_bytes()));
        }
        (TdsValue::Null, ColumnType::NVarChar(_)) => out.extend_from_slice(&[0xFF, 0xFF]),
        (TdsValue::Null, _) => out.push(0),
        (value, kind) => panic!("the engine stored {value:?} in a column of {kind:?}"),
    }
}

pub(super) fn put_b_varchar(out: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    out.push(u8::try_from(units.len()).expect("names are short"));
    units
        .iter()
        .for_each(|unit| out.extend_from_slice(&unit.to_le_bytes()));
}

fn put_us_varchar(out: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    out.extend_from_slice(&(units.len() as u16).to_le_bytes());
    units
        .iter()
        .for_each(|unit| out.extend_from_slice(&unit.to_le_bytes()));
}

/// An error as SQL Server numbers it (`sys.messages`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// `sys.messages.message_id`.
    pub number: u32,
    /// The severity; 20 and above end the connection.
    pub class: u8,
    pub message: String,
}

impl ServerError {
    /// Creates an error with this number and the severity that SQL Server gives it.
    pub fn new(number: u32, message: impl Into<String>) -> Self {
        let class = match number {
            1205 => 13,
            2627 | 18456 => 14,
            4060 => 11,
            40197 | 40501 | 40613 | 49918..=49920 => 20,
            _ => 16,
        };
        Self {
            number,
            class,
            message: message.into(),
        }
    }
}

/// Appends an ERROR token (MS-TDS 2.2.7.10).
pub(super) fn put_error(out: &mut Vec<u8>, error: &ServerError) {
    let mut body = Vec::new();
    body.extend_from_slice(&error.number.to_le_bytes());
    body.push(1);
    body.push(error.class);
    put_us_varchar(&mut body, &error.message);
    put_b_varchar(&mut body, "testkit");
    put_b_varchar(&mut body, "");
    body.extend_from_slice(&1u32.to_le_bytes());
    out.push(0xAA);
    out.extend_from_slice(&(body.len() as u16).to_le_bytes());
    out.extend_from_slice(&body);
}

/// The three DONE tokens (MS-TDS 2.2.7.6 to 2.2.7.8).
#[derive(Debug, Clone, Copy)]
pub(super) enum Done {
    /// After a statement of a batch.
    Batch = 0xFD,
    /// After a procedure.
    Proc = 0xFE,
    /// After a statement within a procedure.
    InProc = 0xFF,
}

/// Appends a DONE token. `rows` is the count of rows affected, if the statement has one.
pub(super) fn put_done(out: &mut Vec<u8>, kind: Done, more: bool, error: bool, rows: Option<u64>) {
    let mut status = 0u16;
    status |= u16::from(more);
    status |= u16::from(error) << 1;
    status |= u16::from(rows.is_some()) << 4;
    out.push(kind as u8);
    out.extend_from_slice(&status.to_le_bytes());
    out.extend_from_slice(&0u16.to_le_bytes());
    out.extend_from_slice(&rows.unwrap_or(0).to_le_bytes());
}

/// Appends RETURNSTATUS (MS-TDS 2.2.7.18).
pub(super) fn put_return_status(out: &mut Vec<u8>, status: i32) {
    out.push(0x79);
    out.extend_from_slice(&status.to_le_bytes());
}

fn put_env_change(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(0xE3);
    out.extend_from_slice(&((body.len() + 1) as u16).to_le_bytes());
    out.push(kind);
    out.extend_from_slice(body);
}

/// Appends an ENVCHANGE of a text value (MS-TDS 2.2.7.9): 1 = database, 4 = packet size.
pub(super) fn put_env_text(out: &mut Vec<u8>, kind: u8, new: &str, old: &str) {
    let mut body = Vec::new();
    put_b_varchar(&mut body, new);
    put_b_varchar(&mut body, old);
    put_env_change(out, kind, &body);
}

/// Appends ENVCHANGE 7: the connection's collation.
pub(super) fn put_env_collation(out: &mut Vec<u8>) {
    let mut body = vec![5];
    body.extend_from_slice(&COLLATION);
    body.push(0);
    put_env_change(out, 7, &body);
}

/// Appends ENVCHANGE 8: a transaction has begun; its descriptor follows.
pub(super) fn put_env_begin(out: &mut Vec<u8>, descriptor: u64) {
    let mut body = vec![8];
    body.extend_from_slice(&descriptor.to_le_bytes());
    body.push(0);
    put_env_change(out, 8, &body);
}

/// Appends ENVCHANGE 9 (committed) or 10 (rolled back): the transaction `descriptor` has ended.
pub(super) fn put_env_end(out: &mut Vec<u8>, committed: bool, descriptor: u64) {
    let mut body = vec![0, 8];
    body.extend_from_slice(&descriptor.to_le_bytes());
    put_env_change(out, if committed { 9 } else { 10 }, &body);
}

/// Appends ENVCHANGE 20: the client must connect to another server (Azure SQL's redirect).
pub(super) fn put_env_routing(out: &mut Vec<u8>, host: &str, port: u16) {
    let mut value = vec![0];
    value.extend_from_slice(&port.to_le_bytes());
    put_us_varchar(&mut value, host);
    let mut body = (value.len() as u16).to_le_bytes().to_vec();
    body.extend_from_slice(&value);
    body.extend_from_slice(&[0, 0]);
    put_env_change(out, 20, &body);
}

/// Appends LOGINACK (MS-TDS 2.2.7.14) for TDS 7.4.
pub(super) fn put_login_ack(out: &mut Vec<u8>) {
    let mut body = vec![1];
    body.extend_from_slice(&0x7400_0004u32.to_be_bytes());
    put_b_varchar(&mut body, "Microsoft SQL Server");
    body.extend_from_slice(&[16, 0, 0x10, 0x00]);
    out.push(0xAD);
    out.extend_from_slice(&(body.len() as u16).to_le_bytes());
    out.extend_from_slice(&body);
}

/// Appends FEATUREEXTACK for FEDAUTH (MS-TDS 2.2.7.11).
pub(super) fn put_fed_auth_ack(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xAE, 0x02, 0, 0, 0, 0, 0xFF]);
}

/// Reads a TYPE_INFO. Returns the type and the layout of its values.
pub(super) fn read_type(reader: &mut PacketReader<'_>) -> Result<(ColumnType, Layout), ProtocolError> {
    Ok(match reader.u8()? {
        0x30 => (ColumnType::Int(1), Layout::Fixed(1)),
        0x34 => (ColumnType::Int(2), Layout::Fixed(2)),
        0x38 => (ColumnType::Int(4), Layout::Fixed(4)),
        0x7F => (ColumnType::Int(8), Layout::Fixed(8)),
        0x3E => (ColumnType::Float, Layout::Fixed(8)),
        0x3D => (ColumnType::DateTime, Layout::Fixed(8)),
        0x26 => {
            let width = reader.u8()?;
            if ![1, 2, 4, 8].contains(&width) {
                return violation(format!("INTN of {width} bytes"));
            }
            (ColumnType::Int(width), Layout::ByteLength(width))
        }
        0x6D => match reader.u8()? {
            8 => (ColumnType::Float, Layout::ByteLength(8)),
            width => return violation(format!("FLTN of {width} bytes, this server stores 8")),
        },
        0x6F => match reader.u8()? {
            8 => (ColumnType::DateTime, Layout::ByteLength(8)),
            width => return violation(format!("DATETIMN of {width} bytes, this server stores 8")),
        },
        0xE7 => {
            let bytes = reader.u16()?;
            reader.take(5)?;
            (ColumnType::NVarChar(bytes / 2), Layout::ShortLength)
        }
        other => return violation(format!("type 0x{other:02x} is not one that this server stores")),
    })
}

/// The layout of the values of a type in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// This number of bytes, never NULL.
    Fixed(u8),
    /// A length byte, which is 0 for NULL and this number of bytes otherwise.
    ByteLength(u8),
    /// A two-byte length, 0xFFFF for NULL.
    ShortLength,
}

/// Reads one value.
pub(super) fn read_value(
    reader: &mut PacketReader<'_>,
    kind: ColumnType,
    layout: Layout,
) -> Result<TdsValue, ProtocolError> {
    let width = match layout {
        Layout::Fixed(width) => width,
        Layout::ByteLength(width) => match reader.u8()? {
            0 => return Ok(TdsValue::Null),
            length if length == width => width,
            length => {
                return violation(format!("a value of {length} bytes in a column of width {width}"));
            }
        },
        Layout::ShortLength => {
            return match reader.u16()? {
                0xFFFF => Ok(TdsValue::Null),
                length => Ok(TdsValue::Text(utf16(reader.take(usize::from(length))?)?)),
            };
        }
    };
    Ok(match kind {
        ColumnType::Int(_) => TdsValue::Int(match width {
            1 => i64::from(reader.u8()?),
            2 => i64::from(i16::from_le_bytes(reader.array()?)),
            4 => i64::from(i32::from_le_bytes(reader.array()?)),
            _ => i64::from_le_bytes(reader.array()?),
        }),
        ColumnType::Float => TdsValue::Float(f64::from_le_bytes(reader.array()?)),
        ColumnType::DateTime => {
            let days = i32::from_le_bytes(reader.array()?);
            let ticks = reader.u32()?;
            // `datetime` covers 1753-01-01 to 9999-12-31, with 25 920 000 ticks per day.
            if !(-53_690..=2_958_463).contains(&days) || ticks >= 25_920_000 {
                return violation(format!(
                    "datetime of {days} days and {ticks} ticks is out of range"
                ));
            }
            TdsValue::DateTime(days, ticks)
        }
        ColumnType::NVarChar(_) => return violation("nvarchar with a fixed layout"),
    })
}
