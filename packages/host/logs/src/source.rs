//! Whose lines they are. A source has a key, a path-like text that buffers and positions know it by, and that alone says all
//! about it: what was buffered before a restart needs nothing else.

pub mod cri;
pub mod discover;
pub mod files;
pub mod head;
pub mod limit;
pub mod lines;
pub mod log;
pub mod ring;
pub mod rings;
pub mod tail;
pub mod watch;

/// What kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A service of PID 1.
    Services,
    /// The kernel, with PID 1.
    Kernel,
    /// A container.
    Containers,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The kernel's log, with the messages of PID 1.
    Kernel,
    /// What a service of PID 1 prints.
    Service {
        /// Its name.
        name: String,
    },
    /// A container of the machine config.
    Container {
        /// Its name, which its service has, too.
        name: String,
    },
    /// A container of a pod.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The pod's UID.
        uid: String,
        /// The container's name.
        container: String,
        /// How often it had been started before.
        restart: u32,
    },
}

impl Source {
    /// What kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Kernel => Kind::Kernel,
            Self::Service { .. } => Kind::Services,
            Self::Container { .. } | Self::Pod { .. } => Kind::Containers,
        }
    }

    /// The text that stands for it. No name in it can hold a slash.
    pub fn key(&self) -> String {
        match self {
            Self::Kernel => "kernel".to_owned(),
            Self::Service { name } => format!("services/{name}"),
            Self::Container { name } => format!("containers/{name}"),
            Self::Pod { namespace, pod, uid, container, restart } => {
                format!("pods/{namespace}/{pod}/{uid}/{container}/{restart}")
            }
        }
    }

    /// The source of a key.
    pub fn from_key(key: &str) -> Option<Self> {
        let mut parts = key.split('/');
        let kind = parts.next()?;
        let mut next = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let source = match kind {
            "kernel" => Self::Kernel,
            "services" => Self::Service { name: next()? },
            "containers" => Self::Container { name: next()? },
            "pods" => Self::Pod {
                namespace: next()?,
                pod: next()?,
                uid: next()?,
                container: next()?,
                restart: next()?.parse().ok()?,
            },
            _ => return None,
        };
        parts.next().is_none().then_some(source)
    }

    /// The service that it belongs to; none for pods.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Kernel => Some("kernel"),
            Self::Service { name } | Self::Container { name } => Some(name),
            Self::Pod { .. } => None,
        }
    }

    /// The container that it is.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Container { name } => Some(name),
            Self::Pod { container, .. } => Some(container),
            _ => None,
        }
    }

    /// One name for it, where there is room for no more.
    pub fn name(&self) -> &str {
        self.container().or(self.unit()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        for source in [
            Source::Kernel,
            Source::Service { name: "web".into() },
            Source::Container { name: "web".into() },
            Source::Pod {
                namespace: "shop".into(),
                pod: "web-1".into(),
                uid: "c7e4".into(),
                container: "app".into(),
                restart: 3,
            },
        ] {
            assert_eq!(Source::from_key(&source.key()), Some(source));
        }
        for bad in ["", "x", "services", "services/", "services/a/b", "pods/a/b/c/d/x", "kernel/x"] {
            assert_eq!(Source::from_key(bad), None, "{bad}");
        }
    }
}
