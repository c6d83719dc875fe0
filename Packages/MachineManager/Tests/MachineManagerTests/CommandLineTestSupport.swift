import Testing

@testable import MachineManager

/// A command line with a kernel, and `words` behind it.
func parse(_ words: [String]) throws -> VmConfig {
    guard case .run(let config) = try CommandLineParser.parse(["-kernel", "k"] + words) else {
        throw CommandLineError.conflict("not a configuration")
    }
    return config
}

/// What the user reads when `words` follow a kernel; "accepted" when they are right.
func message(_ words: [String]) -> String {
    do {
        _ = try CommandLineParser.parse(["-kernel", "k"] + words)
        return "accepted"
    } catch {
        return error.description
    }
}

func message(_ words: String...) -> String { message(words) }
