//! Names on the bus.

/// The bus itself.
pub(crate) const BUS: &str = "org.freedesktop.DBus";
pub(crate) const BUS_INTERFACE: &str = "org.freedesktop.DBus";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(crate) const PEER: &str = "org.freedesktop.DBus.Peer";
/// login1, and the name of the connection that would have it on a bus with many services.
pub(crate) const LOGIN: &str = "org.freedesktop.login1";
pub(crate) const LOGIN_OWNER: &str = ":1.0";
pub(crate) const LOGIN_PATH: &str = "/org/freedesktop/login1";
pub(crate) const LOGIN_INTERFACE: &str = "org.freedesktop.login1.Manager";
/// The property with the longest delay, in microseconds.
pub(crate) const DELAY: &str = "InhibitDelayMaxUSec";
/// The signal that the host goes down.
pub(crate) const PREPARE: &str = "PrepareForShutdown";

/// Names of errors.
pub(crate) const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
pub(crate) const FAILED: &str = "org.freedesktop.DBus.Error.Failed";
pub(crate) const INVALID_ARGS: &str = "org.freedesktop.DBus.Error.InvalidArgs";
pub(crate) const LIMITS_EXCEEDED: &str = "org.freedesktop.DBus.Error.LimitsExceeded";
pub(crate) const NOT_SUPPORTED: &str = "org.freedesktop.DBus.Error.NotSupported";
pub(crate) const RULE_INVALID: &str = "org.freedesktop.DBus.Error.MatchRuleInvalid";
pub(crate) const RULE_NOT_FOUND: &str = "org.freedesktop.DBus.Error.MatchRuleNotFound";
pub(crate) const SERVICE_UNKNOWN: &str = "org.freedesktop.DBus.Error.ServiceUnknown";
pub(crate) const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
pub(crate) const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
pub(crate) const UNKNOWN_PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";
pub(crate) const IN_PROGRESS: &str = "org.freedesktop.login1.OperationInProgress";
