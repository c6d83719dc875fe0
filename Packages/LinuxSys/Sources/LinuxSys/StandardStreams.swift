internal import CLinuxSys

/// Text to standard output and standard error, unbuffered. Failures are ignored: there is nowhere to report them.
public enum StandardStreams {
    /// Opens /dev/null, or where there is none something that takes and gives nothing, where standard input, output or error is closed: the next file would get its number, and with it what is meant for a terminal.
    /// First thing in a program.
    public static func openMissing() { sys_open_standard_streams() }

    public static func output(_ text: String) { write(1, text) }
    public static func error(_ text: String) { write(2, text) }

    private static func write(_ descriptor: Int32, _ text: String) {
        let bytes = Array(text.utf8)
        unsafe bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let result = unsafe sys_write(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
                if result == -Int(Errno.interrupted.code) { continue }
                if result <= 0 { return }
                done += result
            }
        }
    }
}
