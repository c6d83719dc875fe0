/// What is wrong with a command line. `description` is one sentence without a final stop and without the program's name;
/// the program prints it after "stratovirt: " and exits with status 1.
public enum CommandLineError: Error, Equatable, Sendable {
    /// A word that begins with a dash and names no option.
    case unknownOption(String)
    /// A word that belongs to no option.
    case unexpectedArgument(String)
    /// A known option, device or parameter that this version does not implement. `subject` is written as on the command line.
    case notSupportedYet(subject: String)
    /// An option that may be given once was given again.
    case repeated(option: String)
    /// An option that needs a value has none.
    case missingValue(option: String)
    /// A second value for an option that takes one, or any value for an option that takes none.
    case extraValue(option: String, word: String)
    /// A value that breaks a rule of its option.
    case invalid(option: String, reason: String)
    /// Options that are right one by one and wrong together, or a wrong argument of a QMP command: the whole sentence.
    case conflict(String)
}

extension CommandLineError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unknownOption(let word): "unknown option \(quoted(word))"
        case .unexpectedArgument(let word): "unexpected argument \(quoted(word))"
        case .notSupportedYet(let subject): "\(subject): not supported yet"
        case .repeated(let option): "-\(option): given more than once"
        case .missingValue(let option): "-\(option): needs a value"
        case .extraValue(let option, let word): "-\(option): unexpected value \(quoted(word))"
        case .invalid(let option, let reason): "-\(option): \(reason)"
        case .conflict(let sentence): sentence
        }
    }
}
