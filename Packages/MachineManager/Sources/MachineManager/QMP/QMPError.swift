/// The `error` of an answer.
struct QMPError: Error, Equatable, Sendable {
    enum Class: String, Sendable {
        case generic = "GenericError"
        case commandNotFound = "CommandNotFound"
        case deviceNotActive = "DeviceNotActive"
        case deviceNotFound = "DeviceNotFound"
        case missingCapability = "KVMMissingCap"
        case throttled = "OperationThrottled"
    }

    let errorClass: Class
    let text: String

    init(_ errorClass: Class, _ text: String) {
        self.errorClass = errorClass
        self.text = text
    }

    init(_ text: String) { self.init(.generic, text) }

    init(_ error: CommandLineError) { self.init(.generic, error.description) }

    init(_ error: MachineControlError) {
        let errorClass: Class =
            switch error {
            case .wrongState, .failed: .generic
            case .deviceNotFound: .deviceNotFound
            case .deviceNotActive: .deviceNotActive
            case .missingCapability: .missingCapability
            }
        self.init(errorClass, error.description)
    }

    var json: JSONValue { ["class": .string(errorClass.rawValue), "desc": .string(text)] }
}
