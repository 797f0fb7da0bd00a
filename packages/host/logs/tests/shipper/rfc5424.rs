//! Reads syslog messages as RFC 5424 section 6 and RFC 5425 section 4.3 write them, and nothing else.

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) priority: u32,
    pub(crate) timestamp: String,
    pub(crate) app: String,
    pub(crate) data: Vec<(String, String)>,
    pub(crate) message: Vec<u8>,
}

/// All messages; an error when the last one is not whole, or one is none.
pub(crate) fn messages(mut bytes: &[u8]) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or("no length")?;
        let digits = std::str::from_utf8(&bytes[..blank]).map_err(|error| error.to_string())?;
        if digits.starts_with('0') {
            return Err(format!("MSG-LEN {digits}"));
        }
        let len: usize = digits.parse().map_err(|_| format!("MSG-LEN {digits}"))?;
        let message = bytes.get(blank + 1..blank + 1 + len).ok_or("it is cut")?;
        messages.push(parse(message).ok_or_else(|| String::from_utf8_lossy(message).into_owned())?);
        bytes = &bytes[blank + 1 + len..];
    }
    Ok(messages)
}

fn parse(bytes: &[u8]) -> Option<Message> {
    let rest = bytes.strip_prefix(b"<")?;
    let end = rest.iter().position(|byte| *byte == b'>')?;
    let priority = std::str::from_utf8(&rest[..end]).ok()?.parse().ok().filter(|it| *it < 192)?;
    let rest = rest[end + 1..].strip_prefix(b"1 ")?;
    let mut fields = rest.splitn(6, |byte| *byte == b' ');
    let mut field = |limit: usize| {
        let field = std::str::from_utf8(fields.next()?).ok()?;
        let is_good = (1..=limit).contains(&field.len()) && field.bytes().all(|it| it.is_ascii_graphic());
        is_good.then(|| field.to_owned())
    };
    let timestamp = field(32)?;
    let fraction = timestamp.split('.').nth(1).map_or(0, |it| it.trim_end_matches('Z').len());
    if !timestamp.ends_with('Z') || !(1..=6).contains(&fraction) {
        return None;
    }
    let (_host, app, _process, _id) = (field(255)?, field(48)?, field(128)?, field(32)?);
    let mut rest = fields.next()?.strip_prefix(b"[lepton@32473")?;
    let mut data = Vec::new();
    while let Some(parameter) = rest.strip_prefix(b" ") {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let name = String::from_utf8(parameter[..equals].to_vec()).ok()?;
        let mut value = Vec::new();
        let mut bytes = parameter[equals + 1..].strip_prefix(b"\"")?;
        loop {
            let (byte, after) = bytes.split_first()?;
            bytes = after;
            match byte {
                b'"' => break,
                b'\\' => {
                    let (escaped, after) = bytes.split_first()?;
                    bytes = after;
                    value.push(*escaped);
                }
                b']' => return None,
                byte => value.push(*byte),
            }
        }
        data.push((name, String::from_utf8(value).ok()?));
        rest = bytes;
    }
    let rest = rest.strip_prefix(b"]")?;
    let message = if rest.is_empty() { Vec::new() } else { rest.strip_prefix(b" ")?.to_vec() };
    Some(Message { priority, timestamp, app, data, message })
}
