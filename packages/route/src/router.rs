//! What all parts of the router share.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Semaphore, watch};

use crate::log::AccessLog;
use crate::peer::Clients;
use crate::settings::Settings;
use crate::stats::{HostStats, Totals};
use crate::table::Table;

/// Connections of clients.
pub(crate) const CONNECTIONS: u32 = 4096;

/// The router.
pub(crate) struct Router {
    table: RwLock<Arc<Table>>,
    settings: RwLock<Arc<Settings>>,
    /// Figures of the router as a whole.
    pub(crate) totals: Totals,
    /// Requests for hosts that nobody answers for.
    pub(crate) unknown: Arc<HostStats>,
    /// The log of requests.
    pub(crate) access: AccessLog,
    /// Who is connected.
    pub(crate) clients: Clients,
    /// One permit for each connection of a client.
    pub(crate) places: Arc<Semaphore>,
    /// Whether the router is to end.
    pub(crate) stop: watch::Sender<bool>,
}

impl Router {
    /// Without routes.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            table: RwLock::default(),
            settings: RwLock::new(Arc::new(settings)),
            totals: Totals::default(),
            unknown: Arc::default(),
            access: AccessLog::new(),
            clients: Clients::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS as usize)),
            stop: watch::Sender::new(false),
        }
    }

    /// The table of this moment.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a table in the place of the one before.
    pub(crate) fn set_table(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// The settings of this moment.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts settings in the place of those before.
    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}
