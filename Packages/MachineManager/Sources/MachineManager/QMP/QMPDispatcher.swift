internal import LinuxSys

/// The answer to one message, ready to be written.
struct QMPReply: Sendable {
    let result: Result<QMPAnswer, QMPError>
    /// What the client called its request.
    let id: JSONValue?
}

/// Carries out requests on a machine: one message in, one answer out.
struct QMPDispatcher: Sendable {
    let control: any MachineControl
    let descriptors: QMPDescriptors

    /// The answer to one message of `client`, or to text that is none. `mayRun` is asked once for each command that would be carried out.
    func answer(_ event: JSONReader.Event, to client: any QMPClient, mayRun: () -> Bool) -> QMPReply {
        switch event {
        case .error(let error):
            return QMPReply(result: .failure(QMPError("JSON parse error: \(error)")), id: nil)
        case .value(let message):
            let id = QMPRequest.id(of: message)
            do throws(QMPError) {
                return QMPReply(result: .success(try execute(QMPRequest(message), for: client, mayRun)), id: id)
            } catch {
                return QMPReply(result: .failure(error), id: id)
            }
        }
    }

    private func execute(_ request: QMPRequest, for client: any QMPClient, _ mayRun: () -> Bool) throws(QMPError) -> QMPAnswer {
        // A client that only connects, negotiates and hangs up, as Kata Containers does again and again, is never turned away.
        guard request.command.name == QMPCommand.negotiation || mayRun() else {
            throw QMPError(.throttled, "\(request.command.name): more than \(QMPRateLimit.standard) commands a second; not carried out")
        }
        Trace.emit(.qmpCommand, request.command.name)
        return try request.command.run(request.arguments, QMPContext(control: control, descriptors: descriptors, client: client))
    }
}
