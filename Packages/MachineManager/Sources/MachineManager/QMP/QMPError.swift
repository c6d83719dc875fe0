/// The `error` of an answer.
struct QMPError: Error, Equatable, Sendable {
    enum Class: String, Sendable {
        case generic = "GenericError"
        case commandNotFound = "CommandNotFound"
    }

    let errorClass: Class
    let text: String

    init(_ errorClass: Class = .generic, _ text: String) {
        self.errorClass = errorClass
        self.text = text
    }

    var json: JSONValue { ["class": .string(errorClass.rawValue), "desc": .string(text)] }
}
