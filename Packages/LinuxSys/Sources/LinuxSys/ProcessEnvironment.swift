internal import CLinuxSys
internal import Glibc

/// The arguments and environment of the process, without /proc and without a descriptor. Any thread.
public enum ProcessEnvironment {
    /// The words after the program's name. Nil when one is no valid UTF-8: it could name a file that a repaired text does not.
    public static var arguments: [String]? {
        var words: [String] = []
        for index in 1..<max(1, sys_argument_count()) {
            // SAFETY: argv's strings live as long as the process.
            guard let word = unsafe sys_argument(index).flatMap({ unsafe String(validatingCString: $0) }) else { return nil }
            words.append(word)
        }
        return words
    }

    /// The value of an environment variable.
    public static func value(_ name: String) -> String? {
        guard let text = unsafe getenv(name) else { return nil }
        return unsafe String(cString: text)
    }
}
