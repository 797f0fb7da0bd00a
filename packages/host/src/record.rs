//! Calls that change something leave a record, whatever becomes of them.

use std::future::Future;

use serde_json::Value;
use tonic::{Request, Response, Status};

use crate::audit;
use crate::caller::Admitted;

/// The record of a call; it is written when the call has ended.
#[derive(Debug)]
pub(crate) struct Record {
    caller: Admitted,
    method: &'static str,
    arguments: Value,
    is_written: bool,
}

impl Record {
    /// A record of a call with these arguments, without secrets.
    pub(crate) fn new<T>(
        request: &Request<T>,
        method: &'static str,
        arguments: Value,
    ) -> Result<Self, Status> {
        Ok(Self { caller: caller(request)?, method, arguments, is_written: false })
    }

    /// How it went.
    pub(crate) fn write(mut self, result: Result<(), &Status>) {
        self.is_written = true;
        audit::call(&self.caller, self.method, std::mem::take(&mut self.arguments), result);
    }

    /// Something that was learned meanwhile.
    pub(crate) fn add(&mut self, key: &str, value: impl Into<Value>) {
        self.arguments[key] = value.into();
    }

    /// Waits for what the call does, and writes how it went.
    pub(crate) async fn of<T>(
        self,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let result = work.await;
        self.write(result.as_ref().map(drop));
        result.map(Response::new)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_written {
            let status = Status::cancelled("the call was given up before it had ended");
            audit::call(&self.caller, self.method, std::mem::take(&mut self.arguments), Err(&status));
        }
    }
}

/// Who calls.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Admitted, Status> {
    let caller = request.extensions().get::<Admitted>().cloned();
    caller.ok_or_else(|| Status::internal("the caller is not known"))
}
