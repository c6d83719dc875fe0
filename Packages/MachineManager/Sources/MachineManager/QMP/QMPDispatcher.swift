/// Carries out requests on a machine: one message in, one answer out.
struct QMPDispatcher: Sendable {
    let control: any MachineControl

    /// The answer to one message of a client, or to text that is none.
    func answer(_ event: JSONReader.Event) -> JSONValue {
        switch event {
        case .error(let error):
            return ["error": QMPError(.generic, "JSON parse error: \(error)").json]
        case .value(let message):
            var answer = JSONObject()
            do {
                answer["return"] = try execute(QMPRequest(message))
            } catch {
                answer["error"] = error.json
            }
            answer["id"] = QMPRequest.id(of: message)
            return .object(answer)
        }
    }

    private func execute(_ request: QMPRequest) throws(QMPError) -> JSONValue {
        switch request.command {
        case .capabilities: try checkCapabilities(request.arguments)
        case .queryVersion: return QMPSchema.version
        case .queryStatus: return QMPSchema.status(control.status())
        case .queryCommands: return .array(QMPCommand.allCases.map { ["name": .string($0.rawValue)] })
        case .queryCPUs: return .array(control.cpus().map(QMPSchema.cpu))
        case .queryHotpluggableCPUs: return .array(control.cpuSlots().map(QMPSchema.slot))
        case .stop: try perform { () throws(MachineControlError) in try control.pause() }
        case .cont: try perform { () throws(MachineControlError) in try control.resume() }
        case .systemPowerdown: try perform { () throws(MachineControlError) in try control.requestPowerdown() }
        case .systemReset: try perform { () throws(MachineControlError) in try control.requestReset() }
        case .quit: control.requestQuit()
        }
        return .object([:])
    }

    private func perform(_ action: () throws(MachineControlError) -> Void) throws(QMPError) {
        do { try action() } catch { throw QMPError(error) }
    }

    /// The greeting offers no capability, so none can be enabled.
    private func checkCapabilities(_ arguments: JSONObject) throws(QMPError) {
        guard case .array(let names)? = arguments["enable"], case .string(let name)? = names.first else { return }
        throw QMPError(.generic, "capability \(quoted(name)) is not available")
    }
}
