internal import LinuxSys
internal import MachineManager

// A start, step by step: see ARCHITECTURE.md.
do throws(CommandLineError) {
    switch try CommandLineParser.parse(Array(CommandLine.arguments.dropFirst())) {
    case .help: StandardStreams.output(CommandLineParser.helpText)
    case .version: StandardStreams.output(CommandLineParser.versionText)
    case .run(let config): ExitActions.exit(Program.run(config))
    }
} catch {
    StandardStreams.error("stratovirt: \(error)\n")
    ExitActions.exit(1)
}
