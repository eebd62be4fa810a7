//! The two messages before a session: PRELOGIN (MS-TDS 2.2.6.5) and LOGIN7 (2.2.6.4).

use super::wire::{PacketReader, ProtocolError, utf16, violation};

/// What the client's PRELOGIN requested.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PreLogin {
    /// 0 off, 1 on, 2 not supported, 3 required.
    pub(super) encryption: u8,
    /// Whether the client will sign in with an Entra ID token.
    pub(super) fed_auth: bool,
}

/// Reads a PRELOGIN message.
pub(super) fn parse_prelogin(body: &[u8]) -> Result<PreLogin, ProtocolError> {
    let mut encryption = None;
    let mut fed_auth = false;
    let mut version = false;
    let mut at = 0;
    loop {
        let Some(&option) = body.get(at) else {
            return violation("PRELOGIN options without a terminator");
        };
        if option == 0xFF {
            break;
        }
        let Some(&[o1, o2, l1, l2]) = body.get(at + 1..at + 5) else {
            return violation("a PRELOGIN option is cut short");
        };
        let offset = usize::from(u16::from_be_bytes([o1, o2]));
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        let Some(data) = body.get(offset..offset + length) else {
            return violation(format!("PRELOGIN option {option} points outside of the message"));
        };
        match (option, data) {
            (0, data) if data.len() == 6 => version = true,
            (1, &[level @ 0..=3]) => encryption = Some(level),
            (6, &[flag]) => fed_auth = flag == 1,
            (0 | 1 | 6, _) => return violation(format!("PRELOGIN option {option} is malformed")),
            _ => {}
        }
        at += 5;
    }
    if !version {
        return violation("PRELOGIN without a version");
    }
    match encryption {
        Some(encryption) => Ok(PreLogin { encryption, fed_auth }),
        None => violation("PRELOGIN without an encryption level"),
    }
}

/// Returns the answer to a PRELOGIN.
pub(super) fn prelogin_answer(encryption: u8, fed_auth: bool) -> Vec<u8> {
    let mut options: Vec<(u8, Vec<u8>)> = vec![
        (0, vec![16, 0, 0x10, 0x00, 0, 0]),
        (1, vec![encryption]),
        (2, vec![0]),
        (3, vec![]),
        (4, vec![0]),
    ];
    if fed_auth {
        options.push((6, vec![1]));
    }
    let mut out = Vec::new();
    let mut offset = options.len() * 5 + 1;
    for (option, data) in &options {
        out.push(*option);
        out.extend_from_slice(&(offset as u16).to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        offset += data.len();
    }
    out.push(0xFF);
    options.iter().for_each(|(_, data)| out.extend_from_slice(data));
    out
}

/// The parts of a LOGIN7 that the server needs.
#[derive(Debug)]
pub(super) struct Login7 {
    pub(super) packet_size: u32,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) server: String,
    pub(super) database: String,
    /// The Entra ID token of the FEDAUTH feature extension.
    pub(super) token: Option<String>,
}

/// Reads a LOGIN7 message.
pub(super) fn parse_login(body: &[u8], fed_auth: bool) -> Result<Login7, ProtocolError> {
    let mut reader = PacketReader::new(body);
    let length = reader.u32()? as usize;
    if length != body.len() {
        return violation(format!("LOGIN7 announces {length} bytes and has {}", body.len()));
    }
    let version = reader.u32()?;
    if version != 0x7400_0004 {
        return violation(format!("TDS version 0x{version:08x} instead of 7.4"));
    }
    let packet_size = reader.u32()?;
    reader.take(12)?; // client version, process id, connection id
    let [_flags1, _flags2, _types, flags3] = reader.array()?;
    reader.take(8)?; // time zone and locale
    let field = |index: usize| -> Result<(usize, usize), ProtocolError> {
        let mut entry = PacketReader::new(body);
        entry.take(36 + index * 4)?;
        Ok((usize::from(entry.u16()?), usize::from(entry.u16()?)))
    };
    let bytes = |index: usize, unit: usize| -> Result<&[u8], ProtocolError> {
        let (offset, length) = field(index)?;
        match body.get(offset..offset + length * unit) {
            Some(bytes) => Ok(bytes),
            None => violation(format!("LOGIN7 field {index} points outside of the message")),
        }
    };
    // Each byte of the password: nibbles swapped, then XOR 0xA5.
    let clear: Vec<u8> = bytes(2, 2)?
        .iter()
        .map(|byte| (byte ^ 0xA5).rotate_left(4))
        .collect();
    let token = if flags3 & 0x10 != 0 {
        let mut pointer = PacketReader::new(bytes(5, 1)?);
        let at = pointer.u32()? as usize;
        let Some(extensions) = body.get(at..) else {
            return violation("the feature extensions lie outside of LOGIN7");
        };
        fed_auth_token(extensions, fed_auth)?
    } else {
        None
    };
    Ok(Login7 {
        packet_size,
        user: utf16(bytes(1, 2)?)?,
        password: utf16(&clear)?,
        server: utf16(bytes(4, 2)?)?,
        // 36 bytes of header, then host, user, password, application, server, extension, library,
        // language, database.
        database: utf16(bytes(8, 2)?)?,
        token,
    })
}

/// Returns the token of the FEDAUTH feature (MS-TDS 2.2.6.4.3), library "security token".
fn fed_auth_token(extensions: &[u8], announced: bool) -> Result<Option<String>, ProtocolError> {
    let mut reader = PacketReader::new(extensions);
    let mut token = None;
    loop {
        match reader.u8()? {
            0xFF => break,
            0x02 => {
                let length = reader.u32()? as usize;
                let mut data = PacketReader::new(reader.take(length)?);
                let options = data.u8()?;
                if options >> 1 != 0x01 {
                    return violation(format!(
                        "FEDAUTH library {} is not a security token",
                        options >> 1
                    ));
                }
                if (options & 1 == 1) != announced {
                    return violation("FEDAUTH echo does not repeat what PRELOGIN said");
                }
                let token_bytes = data.u32()? as usize;
                token = Some(utf16(data.take(token_bytes)?)?);
                if !data.is_empty() {
                    return violation("bytes after the FEDAUTH token although no nonce was given");
                }
            }
            _ => {
                let length = reader.u32()? as usize;
                reader.take(length)?;
            }
        }
    }
    Ok(token)
}
