//! What each call is answered: of the bus, and of login1. Everything that kubelet's client calls, and a ping.

use crate::locks::{Inhibitor, Locks, Refused};
use crate::message::{Body, Call};
use crate::names::{
    ACCESS_DENIED, BUS, BUS_INTERFACE, DELAY, FAILED, IN_PROGRESS, INVALID_ARGS, LIMITS_EXCEEDED, LOGIN,
    LOGIN_INTERFACE, LOGIN_OWNER, LOGIN_PATH, NOT_SUPPORTED, PEER, PROPERTIES, RULE_INVALID, RULE_NOT_FOUND,
    SERVICE_UNKNOWN, UNKNOWN_METHOD, UNKNOWN_OBJECT, UNKNOWN_PROPERTY,
};
use crate::rule::Rule;
use crate::wire::Malformed;

/// The most rules of one client.
const RULES: usize = 32;

/// What is known of a client.
#[derive(Debug)]
pub(crate) struct Client {
    /// The name it got, or will get when it says hello.
    pub(crate) name: String,
    pub(crate) has_name: bool,
    pub(crate) pid: Option<i32>,
    /// Whether descriptors may be sent to it.
    pub(crate) takes_descriptors: bool,
    pub(crate) rules: Vec<Rule>,
}

/// The name of an error, and what it says.
pub(crate) type Refusal = (&'static str, String);

/// What the whole bus has in common.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) locks: Locks,
    /// `InhibitDelayMaxUSec`.
    pub(crate) delay_us: u64,
}

/// Answers a call; the outer error ends the connection.
pub(crate) fn answer(
    call: &Call<'_>,
    client: &mut Client,
    login: &Login,
) -> Result<Result<Body, Refusal>, Malformed> {
    let is_hello = call.destination == Some(BUS) && call.member == "Hello";
    if !client.has_name && !is_hello {
        return Ok(refuse(ACCESS_DENIED, "the first call must be Hello"));
    }
    match (call.destination, call.interface, call.member) {
        (Some(BUS | LOGIN | LOGIN_OWNER), Some(PEER), "Ping") => Ok(Ok(Body::Nothing)),
        (Some(BUS), None | Some(BUS_INTERFACE), _) => of_bus(call, client),
        (Some(LOGIN | LOGIN_OWNER), ..) if call.path != LOGIN_PATH => {
            Ok(refuse(UNKNOWN_OBJECT, &format!("login1 has no object {}", call.path)))
        }
        (Some(LOGIN | LOGIN_OWNER), None | Some(LOGIN_INTERFACE), "Inhibit") => inhibit(call, client, login),
        (Some(LOGIN | LOGIN_OWNER), None | Some(PROPERTIES), "Get") => get(call, login),
        (Some(BUS | LOGIN | LOGIN_OWNER), ..) => Ok(unknown(call)),
        (other, ..) => {
            let name = other.unwrap_or("that is not named");
            Ok(refuse(
                SERVICE_UNKNOWN,
                &format!("there is no service {name} here; this bus has {LOGIN} only"),
            ))
        }
    }
}

fn refuse(name: &'static str, says: &str) -> Result<Body, Refusal> {
    Err((name, says.to_owned()))
}

fn unknown(call: &Call<'_>) -> Result<Body, Refusal> {
    refuse(
        UNKNOWN_METHOD,
        &format!("there is no method {}.{} here", call.interface.unwrap_or("*"), call.member),
    )
}

fn wrong_arguments(want: &str) -> Result<Body, Refusal> {
    refuse(INVALID_ARGS, &format!("the arguments must be {want}"))
}

fn of_bus(call: &Call<'_>, client: &mut Client) -> Result<Result<Body, Refusal>, Malformed> {
    if call.member == "Hello" {
        return Ok(match std::mem::replace(&mut client.has_name, true) {
            false => Ok(Body::Text(client.name.clone())),
            true => refuse(FAILED, "this connection has said hello already"),
        });
    }
    let is_new = match call.member {
        "AddMatch" => true,
        "RemoveMatch" => false,
        _ => return Ok(unknown(call)),
    };
    let Some([text]) = call.strings()? else { return Ok(wrong_arguments("one string, the rule")) };
    let rule = match Rule::parse(text) {
        Ok(rule) => rule,
        Err(error) => return Ok(refuse(RULE_INVALID, error)),
    };
    Ok(match (is_new, client.rules.iter().position(|known| *known == rule)) {
        (true, _) if client.rules.len() >= RULES => {
            refuse(LIMITS_EXCEEDED, "this connection has 32 rules already")
        }
        (true, _) => {
            client.rules.push(rule);
            Ok(Body::Nothing)
        }
        (false, Some(place)) => {
            client.rules.remove(place);
            Ok(Body::Nothing)
        }
        (false, None) => refuse(RULE_NOT_FOUND, "this connection has no such rule"),
    })
}

fn get(call: &Call<'_>, login: &Login) -> Result<Result<Body, Refusal>, Malformed> {
    Ok(match call.strings()? {
        Some([LOGIN_INTERFACE, DELAY]) => Ok(Body::Number(login.delay_us)),
        Some([interface, name]) => {
            refuse(UNKNOWN_PROPERTY, &format!("there is no property {interface}.{name} here"))
        }
        None => wrong_arguments("two strings, interface and property"),
    })
}

fn inhibit(call: &Call<'_>, client: &Client, login: &Login) -> Result<Result<Body, Refusal>, Malformed> {
    let Some([what, who, why, mode]) = call.strings()? else {
        return Ok(wrong_arguments("four strings: what, who, why and mode"));
    };
    if (what, mode) != ("shutdown", "delay") {
        return Ok(refuse(NOT_SUPPORTED, "only what=shutdown with mode=delay can be inhibited here"));
    }
    if !client.takes_descriptors {
        return Ok(refuse(
            NOT_SUPPORTED,
            "a lock is a file descriptor, which this connection has not asked for",
        ));
    }
    if !call.wants_reply {
        return Ok(refuse(INVALID_ARGS, "a lock comes with the reply"));
    }
    Ok(match login.locks.take(Inhibitor::new(who, why, client.pid)) {
        Ok(lock) => Ok(Body::Descriptor(lock)),
        Err(Refused::InProgress) => refuse(IN_PROGRESS, "the host goes down already"),
        Err(Refused::TooMany) => refuse(LIMITS_EXCEEDED, "there are 64 locks already"),
        Err(Refused::Kernel(error)) => refuse(FAILED, &format!("cannot make a lock: {error}")),
    })
}

#[cfg(test)]
mod tests;
